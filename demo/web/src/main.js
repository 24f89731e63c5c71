// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Starts the page: makes the parts and wires them to each other.

import { Api, ApiError } from "./api.js";
import { BookPanel } from "./book.js";
import { Candles } from "./candles.js";
import { ChartPanel } from "./chart.js";
import { byId, segments } from "./dom.js";
import { watchFreshness } from "./freshness.js";
import { HealthBoard } from "./health.js";
import { watchKeys } from "./keys.js";
import { Markets } from "./markets.js";
import { OrdersPanel } from "./orders.js";
import { findApis, readView, socketUrl, writeView } from "./place.js";
import { Socket } from "./socket.js";
import { watchTheme } from "./theme.js";
import { showTicker } from "./ticker.js";
import { TIMEFRAMES } from "./timeframes.js";
import { TradesPanel } from "./trades.js";

const SYMBOLS_READ_MS = 60_000;
const RETRY_MS = 2_000;
const ORDER_SOCKET_TRIES = 3;
const DEFAULT_SYMBOL = "BTCUSDT";
const DEFAULT_TIMEFRAME = "1";

const { marketUrl, ordersUrl, isOrdersOverridden } = await findApis();
const api = new Api(marketUrl);
const ordersApi = new Api(ordersUrl);
const socket = new Socket(socketUrl(marketUrl, "/ws?type=none"));
const orderSocket = new Socket(socketUrl(ordersUrl, "/ws?type=none"), { maxTries: ORDER_SOCKET_TRIES });
const health = new HealthBoard(api, ordersApi);
const candles = new Candles(api);
const chart = new ChartPanel(candles);
const markets = new Markets(api);
const book = new BookPanel();
const trades = new TradesPanel(api);
const orders = new OrdersPanel(ordersApi, orderSocket, { isOverridden: isOrdersOverridden });
const view = readView();
if (!TIMEFRAMES.has(view.timeframe)) view.timeframe = DEFAULT_TIMEFRAME;

const setTimeframe = segments(
  byId("timeframes"),
  "timeframe",
  [...TIMEFRAMES].map(([name, [label, title]]) => [name, label, title]),
  view.timeframe,
  (name) => show(view.symbol, name),
);

function show(symbol, timeframe) {
  const isNewSymbol = symbol !== book.symbol;
  Object.assign(view, { symbol, timeframe });
  writeView(view);
  setTimeframe(timeframe);
  socket.follow("chart", [{ type: "candles", symbol, timeframe, interval: 0.5 }]);
  candles.show(symbol, timeframe);
  if (!isNewSymbol) return;
  markets.choose(symbol);
  showTicker(markets.markets.get(symbol));
  book.show(symbol);
  socket.follow("book", [{ type: "orderbook", symbol, levels: 20, interval: 0.5 }]);
  trades.show(symbol);
  socket.follow("trades", [{ type: "trades", symbol }]);
}

function onMessage(message) {
  if (message.type === "status") health.take(message);
  if (message.type !== undefined) return;
  const isShown = message.symbol === view.symbol;
  if (message.channel === "candles") {
    if (message.timeframe === "1") markets.hear(message);
    if (isShown && message.timeframe === view.timeframe) candles.hear(message);
  } else if (message.channel === "orderbook") {
    book.hear(message);
  } else if (message.channel === "trades") {
    trades.hear(message);
  }
}

function watchSocket() {
  socket.on("message", onMessage);
  socket.on("state", (state) => {
    health.set("socket", "Live connection", state, state === "down" ? "reconnecting" : "");
    if (state !== "live") health.askMarket();
  });
  socket.on("back", () => {
    candles.catchUp();
    trades.read();
    health.askMarket();
  });
  socket.on("refused", (key, text) => {
    if (key === "trades") trades.say("This server does not tell trades.");
    else health.set(key, key, "stale", text);
  });
  socket.on("latency", (ms) => {
    health.set("socket", "Live connection", "live", `${Math.max(1, Math.round(ms))} ms`);
  });
}

/** Reads the symbols until there are some, and again now and then: new ones may be listed. */
async function readSymbols() {
  let waitMs = SYMBOLS_READ_MS;
  try {
    const { symbols } = await api.get("/symbols");
    markets.setSymbols(symbols);
    if (!symbols.includes(view.symbol)) {
      view.symbol = symbols.includes(DEFAULT_SYMBOL) ? DEFAULT_SYMBOL : (symbols[0] ?? null);
    }
    if (view.symbol === null) waitMs = RETRY_MS;
    else if (book.symbol === null) show(view.symbol, view.timeframe);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    waitMs = RETRY_MS;
  }
  setTimeout(readSymbols, waitMs);
}

function watchViews() {
  const buttons = document.querySelectorAll(".views button");
  const choose = (name) => {
    document.body.dataset.view = name;
    for (const button of buttons) {
      button.setAttribute("aria-current", String(button.dataset.view === name));
    }
  };
  for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.view));
  choose("chart");
  return choose;
}

const chooseView = watchViews();
const toggleTheme = watchTheme(() => chart.repaint());
byId("theme-button").addEventListener("click", toggleTheme);
watchKeys({
  toggleTheme,
  timeframe: () => view.timeframe,
  setTimeframe: (name) => show(view.symbol, name),
});
markets.on("choose", (symbol) => {
  show(symbol, view.timeframe);
  chooseView("chart");
});
markets.on("change", (symbol) => {
  if (symbol === view.symbol) showTicker(markets.markets.get(symbol));
});
orders.on("state", (state, detail) => {
  byId("orders-panel").classList.toggle("is-stale", state !== "live");
  byId("orders-stale").hidden = state === "live";
  byId("orders-stale").textContent = state === "down" ? "not reachable" : "may be old";
  health.set("orders", "Order API", state, detail, { isVital: false });
});
watchFreshness({ socket, book, candles, health });
watchSocket();
socket.follow("markets", [{ type: "candles", symbol: "all", timeframe: "1", interval: 1 }]);
socket.start();
orders.start();
health.start();
readSymbols();
