// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// How every part is: the pill at the top, the dialog behind it, the banner when something is wrong.

import { ApiError } from "./api.js";
import { byId, h, openDialog, setText } from "./dom.js";

const ASK_MS = 10_000;
const WORDS = { live: "Live", stale: "Stale", down: "Offline", connecting: "Connecting…", unknown: "Not known" };
const BAD = ["down", "stale", "connecting"];
const ORDER = ["socket", "feed", "api", "database", "redis", "live_data", "orders", "events"];

export class HealthBoard {
  #api;
  #ordersApi;
  #parts = new Map();

  constructor(api, ordersApi) {
    this.#api = api;
    this.#ordersApi = ordersApi;
    byId("health-button").addEventListener("click", () => this.#open());
    this.set("socket", "Live connection", "connecting", "");
  }

  /** Asks the APIs how they are, now and then. */
  start() {
    this.askMarket();
    setInterval(() => {
      if (!document.hidden) this.askMarket();
      if (!document.hidden && this.#isOrdersWorthAsking()) this.askOrders();
    }, ASK_MS);
  }

  /** Notes how a part is. `isVital`: whether the pill at the top is about it, too. */
  set(key, name, state, detail, { isVital = true } = {}) {
    const known = this.#parts.get(key);
    const isSame = known?.state === state && known?.detail === detail;
    this.#parts.set(key, { name, state, detail, isVital });
    if (!isSame) this.#draw();
  }

  /** Notes that nobody can tell how a part is, because what would tell us is away. */
  forget(key) {
    const known = this.#parts.get(key);
    if (known) this.set(key, known.name, "unknown", "", known);
  }

  /** Takes the body of `/health`, or a `status` message of the socket. */
  take(body) {
    for (const [key, name] of [
      ["database", "Database"],
      ["redis", "Redis"],
      ["live_data", "Market data in memory"],
    ]) {
      if (body[key] === undefined) continue;
      const reason = body.details?.[key];
      const detail = reason ? `${reason.reason}, since ${reason.since}` : "";
      this.set(key, name, body[key] === "healthy" ? "live" : "stale", detail);
    }
  }

  /** Reads `/health` of the market data API. */
  async askMarket() {
    try {
      const { body } = await this.#api.ask("/health");
      const latency = `answers in ${Math.round(this.#api.latencyMs)} ms`;
      this.set("api", "Market data API", "live", latency);
      if (body) this.take(body);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.set("api", "Market data API", "down", error.message);
      for (const key of ["database", "redis", "live_data"]) this.forget(key);
    }
  }

  /** Reads `/health` of the order API. */
  async askOrders() {
    try {
      const { body } = await this.#ordersApi.ask("/health");
      const facts = body?.components ?? {};
      const problems = facts.problems?.join("; ") || facts.database_error || "";
      const isWell = body?.overall_status === "healthy";
      const block = facts.last_block ? `block ${facts.last_block} of ${facts.head_block}` : "";
      this.#setOrders("events", "Chain events", isWell ? "live" : "stale",
        [facts.event_processor, problems, block].filter(Boolean).join(" · "));
      this.#setOrders("orders", "Order API", "live",
        `answers in ${Math.round(this.#ordersApi.latencyMs)} ms`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#setOrders("orders", "Order API", "down", error.message);
      this.forget("events");
    }
  }

  #setOrders(key, name, state, detail) {
    this.set(key, name, state, detail, { isVital: false });
  }

  /** An order API that isn't there is asked by the orders panel alone, ever more seldom. */
  #isOrdersWorthAsking() {
    return this.#parts.get("orders")?.state !== "down";
  }

  /** Returns the state of a part, undefined if it was never set. */
  stateOf(key) {
    return this.#parts.get(key)?.state;
  }

  #draw() {
    const vital = [...this.#parts.values()].filter((part) => part.isVital);
    const worst = BAD.find((state) => vital.some((part) => part.state === state)) ?? "live";
    const button = byId("health-button");
    button.dataset.state = worst;
    const latency = this.#parts.get("socket")?.detail;
    const text = worst === "live" && latency ? `Live · ${latency}` : WORDS[worst];
    setText(byId("health-text"), text);
    this.#drawBanner(vital.filter((part) => part.state === "down" || part.state === "stale"));
    if (byId("health").open) this.#fill();
  }

  #drawBanner(broken) {
    const banner = byId("banner");
    banner.hidden = broken.length === 0;
    const told = broken.map(({ name, detail }) => (detail ? `${name}: ${detail}` : name));
    const what = told.join(" · ");
    setText(banner, broken.length === 0 ? "" : `What is shown may be old. ${what}`);
  }

  #open() {
    this.askMarket();
    this.askOrders();
    this.#fill();
  }

  #fill() {
    const inOrder = [...this.#parts].sort(([a], [b]) => ORDER.indexOf(a) - ORDER.indexOf(b));
    const parts = inOrder.flatMap(([, { name, state, detail }]) => [
      h("span", { dataset: { state } }, h("span", { class: "dot" })),
      h("b", {}, name),
      h("span", { class: "muted" }, WORDS[state]),
      detail ? h("small", {}, detail) : h("small"),
    ]);
    openDialog(byId("health"), "health-title", "How every part is", h("div", { class: "parts" }, ...parts));
  }
}
