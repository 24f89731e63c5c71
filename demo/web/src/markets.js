// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// The list of symbols: live price, change and course of the last 24 hours; search and arrow keys.
//
// Emits "choose" (symbol) and "change" (symbol): new figures of one.

import { byId, h, setText } from "./dom.js";
import { Emitter } from "./events.js";
import { decimalsOf, fixed, percent } from "./format.js";
import { draw, sparkline } from "./sparkline.js";

const QUARTER_MS = 15 * 60_000;
const DAY_QUARTERS = 96;
const READS_AT_ONCE = 4;
const REDRAW_MS = 15_000;
const REFILLS_AT_ONCE = 8;

/** What is known of one symbol: price and 24-hour figures. */
class Market {
  constructor(symbol) {
    this.symbol = symbol;
    this.price = null;
    this.decimals = 2;
    this.quarters = new Map(); // open time of a quarter of an hour → its candle
    this.heardMs = null;
    this.readMs = -Infinity;
  }

  /** The quarters of the last 24 hours, oldest first. */
  get day() {
    const times = [...this.quarters.keys()].sort((a, b) => a - b).slice(-DAY_QUARTERS);
    return times.map((time) => this.quarters.get(time));
  }

  /** Forgets the quarters before the last 24 hours. */
  keepDay() {
    const times = [...this.quarters.keys()].sort((a, b) => a - b);
    for (const time of times.slice(0, -DAY_QUARTERS)) this.quarters.delete(time);
  }

  /** Percent against the open 24 hours ago, null while unknown. */
  get change() {
    const [first] = this.day;
    if (!first || this.price === null) return null;
    return (Number(this.price) / first.open - 1) * 100;
  }
}

export class Markets extends Emitter {
  #api;
  #list = byId("symbol-list");
  #rows = new Map();
  #waiting = [];
  #reading = 0;
  #seen = new IntersectionObserver((entries) => this.#onSeen(entries));

  constructor(api) {
    super();
    this.#api = api;
    this.markets = new Map();
    this.chosen = null;
    this.#list.addEventListener("click", (event) => this.#onClick(event));
    this.#list.addEventListener("keydown", (event) => this.#onKey(event));
    byId("symbol-search").addEventListener("input", () => this.#filter());
    byId("symbol-search").addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") this.#visible()[0]?.focus();
      if (event.key === "Enter") this.#visible()[0]?.click();
      if (event.key === "Escape") event.target.blur();
    });
    setInterval(() => {
      this.#redraw();
      this.#refill();
    }, REDRAW_MS);
  }

  /** Shows these symbols; keeps what is known of those that stay. */
  setSymbols(symbols) {
    for (const symbol of symbols) {
      if (this.markets.has(symbol)) continue;
      this.markets.set(symbol, new Market(symbol));
      const row = makeRow(symbol);
      this.#rows.set(symbol, row);
      this.#list.append(row.element);
      this.#seen.observe(row.element);
    }
    this.#filter();
  }

  /** Reads again some of those with less than a day of history, which may still be loading. */
  #refill() {
    const short = [...this.markets.values()].filter(
      ({ quarters, readMs }) =>
        quarters.size > 0 && quarters.size < DAY_QUARTERS && performance.now() - readMs > REDRAW_MS,
    );
    short.sort((a, b) => a.readMs - b.readMs);
    for (const market of short.slice(0, REFILLS_AT_ONCE)) this.#want(market);
  }

  /** Marks a symbol as the one that is shown. */
  choose(symbol) {
    this.chosen = symbol;
    for (const [name, { element }] of this.#rows) {
      element.setAttribute("aria-selected", String(name === symbol));
      element.tabIndex = name === symbol ? 0 : -1;
    }
    const market = this.markets.get(symbol);
    if (market && market.quarters.size === 0) this.#want(market, { first: true });
  }

  /** Takes a one-minute candle of the socket. */
  hear(message) {
    const market = this.markets.get(message.symbol);
    if (!market) return;
    const before = market.price;
    market.heardMs = performance.now();
    market.price = message.close;
    market.decimals = Math.max(market.decimals, decimalsOf([message.close]));
    if (extend(market, message)) this.#want(market); // the ended quarter's volume is whole now
    if (before !== null && before !== message.close) {
      flash(this.#rows.get(market.symbol).figures, Number(message.close) > Number(before));
    }
    this.#showFigures(market);
    this.emit("change", market.symbol);
  }

  #showFigures(market) {
    const { price, change } = this.#rows.get(market.symbol);
    if (market.price !== null) setText(price, fixed(market.price, market.decimals));
    if (market.change !== null) {
      setText(change, `${market.change < 0 ? "▼" : "▲"} ${percent(market.change)}`);
      change.className = `change ${market.change < 0 ? "down" : "up"}`;
    }
  }

  #redraw() {
    for (const market of this.markets.values()) {
      const closes = market.day.map((quarter) => quarter.close);
      draw(this.#rows.get(market.symbol).spark, closes);
    }
  }

  #onSeen(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this.#seen.unobserve(target);
      this.#want(this.markets.get(target.dataset.symbol));
    }
  }

  #want(market, { first = false } = {}) {
    if (first) this.#waiting.unshift(market);
    else this.#waiting.push(market);
    this.#readNext();
  }

  async #readNext() {
    if (this.#reading >= READS_AT_ONCE || this.#waiting.length === 0) return;
    const market = this.#waiting.shift();
    this.#reading += 1;
    const query = { symbol: market.symbol, timeframe: "15", limit: DAY_QUARTERS + 1 };
    try {
      for (const row of await this.#api.get("/candles", query)) {
        market.quarters.set(row.timestamp, fromQuarter(row));
        market.price ??= row.close_price;
        market.decimals = Math.max(market.decimals, decimalsOf([row.close_price]));
      }
      market.readMs = performance.now();
      market.keepDay();
      market.price = market.day.at(-1)?.raw ?? market.price;
      this.#showFigures(market);
      this.#redraw();
      this.emit("change", market.symbol);
    } catch {
      // It stays without a line; the next reload of the list asks again.
      if (market.quarters.size === 0) setTimeout(() => this.#want(market), 5_000);
    } finally {
      this.#reading -= 1;
      this.#readNext();
    }
  }

  #filter() {
    const wanted = byId("symbol-search").value.trim().toUpperCase();
    for (const [symbol, { element }] of this.#rows) element.hidden = !symbol.includes(wanted);
    if (!this.#visible().some((element) => element.tabIndex === 0)) {
      this.#visible().forEach((element, index) => {
        element.tabIndex = index === 0 ? 0 : -1;
      });
    }
  }

  #visible() {
    return [...this.#list.children].filter((element) => !element.hidden);
  }

  #onClick(event) {
    const symbol = event.target.closest("li")?.dataset.symbol;
    if (symbol) this.emit("choose", symbol);
  }

  #onKey(event) {
    const rows = this.#visible();
    const index = rows.indexOf(document.activeElement);
    const targets = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      Home: 0,
      End: rows.length - 1,
    };
    if (event.key in targets) {
      event.preventDefault();
      rows[Math.max(0, Math.min(rows.length - 1, targets[event.key]))]?.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      document.activeElement.click();
    }
  }
}

function makeRow(symbol) {
  const price = h("div", { class: "price" }, "–");
  const change = h("div", { class: "change muted" }, "");
  const spark = sparkline();
  const figures = h("div", { class: "figures" }, price, change);
  const element = h(
    "li",
    { role: "option", tabindex: -1, "aria-selected": "false", dataset: { symbol } },
    h("span", { class: "name" }, symbol),
    spark,
    figures,
  );
  return { element, price, change, spark, figures };
}

function fromQuarter(row) {
  return {
    open: Number(row.open_price),
    high: Number(row.high_price),
    low: Number(row.low_price),
    close: Number(row.close_price),
    volume: Number(row.quote_volume),
    raw: row.close_price,
  };
}

/** Lets a minute show in its quarter of an hour; returns whether it begins a new one. */
function extend(market, message) {
  if (market.quarters.size === 0) return false;
  const time = Math.floor(message.timestamp / QUARTER_MS) * QUARTER_MS;
  const close = Number(message.close);
  const quarter = market.quarters.get(time);
  if (quarter) {
    quarter.close = close;
    quarter.raw = message.close;
    quarter.high = Math.max(quarter.high, Number(message.high));
    quarter.low = Math.min(quarter.low, Number(message.low));
    return false;
  }
  market.quarters.set(time, {
    open: Number(message.open),
    high: Number(message.high),
    low: Number(message.low),
    close,
    volume: 0,
    raw: message.close,
  });
  return true;
}

function flash(element, isUp) {
  element.classList.remove("flash-up", "flash-down");
  void element.offsetWidth; // starts the animation anew
  element.classList.add(isUp ? "flash-up" : "flash-down");
}
