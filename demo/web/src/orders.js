// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// The orders panel: a list by status or user, pages on demand, kept current by the order socket,
// or by asking now and then where there is no socket.
//
// Emits "state" ("live" | "stale" | "down" | "connecting", text).

import { ApiError } from "./api.js";
import { Backoff } from "./backoff.js";
import { byId, h, segments } from "./dom.js";
import { Emitter } from "./events.js";
import { ellipsis, moment, short } from "./format.js";
import { showOrder } from "./order-dialog.js";

const PAGE = 50;
const POLL_MS = 5_000;
const NEWS_WAIT_MS = 300;
const STATUSES = [
  ["pending", "Pending", "Orders that wait"],
  ["executed", "Executed", "Orders that were executed"],
  ["cancelled", "Cancelled", "Orders that were cancelled"],
  ["all", "All", "All orders"],
];
const COLUMNS = [
  ["Id", "number"],
  ["Type"],
  ["Side"],
  ["Pair"],
  ["Amount in", "number"],
  ["Target price", "number"],
  ["Status"],
  ["User"],
  ["Created (UTC)"],
];
const ADDRESS = /^0x[0-9a-fA-F]{40}$/;

export class OrdersPanel extends Emitter {
  #api;
  #socket;
  #list = h("div");
  #status = "pending";
  #user = "";
  #orders = [];
  #total = 0;
  #cursor = null;
  #abort = new AbortController();
  #timer = null;
  #isNews = false;
  #isFailing = false;
  #backoff = new Backoff({ baseMs: 2_000, maxMs: 60_000 });

  constructor(api, socket, { isOverridden }) {
    super();
    this.#api = api;
    this.#socket = socket;
    const source = `Orders come from ${new URL(api.baseUrl).host}, as this page's address asks.`;
    byId("orders").replaceChildren(
      ...(isOverridden ? [h("p", { class: "source" }, source)] : []),
      this.#list,
    );
    segments(byId("order-status"), "order-status", STATUSES, this.#status, (status) => {
      this.#status = status;
      this.#show();
    });
    byId("address-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.showUser(byId("address").value.trim());
    });
    byId("address").addEventListener("input", (event) => {
      if (event.target.value.trim() === "") this.showUser("");
    });
    socket.on("message", (message) => this.#onNews(message));
    socket.on("back", () => this.#refresh());
    socket.on("state", () => this.#plan());
  }

  /** Reads and shows the list. */
  start() {
    this.#socket.follow("orders", [{ type: "orders" }]);
    this.#socket.start();
    this.#show();
  }

  /** Shows one user's orders, all users' for an empty text. */
  showUser(address) {
    const field = byId("address");
    if (field.value !== address) field.value = address;
    if (address !== "" && !ADDRESS.test(address)) {
      field.reportValidity();
      return;
    }
    if (address === this.#user) return;
    this.#user = address;
    this.#show();
  }

  #show() {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#orders = [];
    this.#cursor = null;
    this.#list.replaceChildren(h("p", { class: "empty" }, "Loading…"));
    return this.#refresh();
  }

  /** Reads the newest page again; what was read below it stays. */
  async #refresh() {
    clearTimeout(this.#timer);
    const { signal } = this.#abort;
    try {
      const page = await this.#read({}, signal);
      if (this.#isFailing) this.#socket.retryNow();
      this.#isFailing = false;
      this.#backoff.reset();
      this.#total = page.total;
      this.#takeNewest(page);
      this.#draw();
      this.emit("state", "live", "");
      this.#plan();
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.#fail(error);
      this.#timer = setTimeout(() => this.#refresh(), this.#backoff.next());
    }
  }

  #takeNewest({ orders, next_cursor: cursor }) {
    const oldest = orders.at(-1);
    const isShort = orders.length < PAGE;
    const older = isShort ? [] : this.#orders.filter((order) => isBelow(order, oldest));
    if (older.length === 0) this.#cursor = isShort ? null : cursor;
    this.#orders = [...orders, ...older];
  }

  async #readMore() {
    const { signal } = this.#abort;
    try {
      const page = await this.#read({ cursor: this.#cursor }, signal);
      this.#orders = [...this.#orders, ...page.orders];
      this.#cursor = page.orders.length < PAGE ? null : page.next_cursor;
      this.#draw();
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  #read(query, signal) {
    const common = { limit: PAGE, ...query };
    if (this.#user === "") return this.#api.get(`/orders/${this.#status}`, common, { signal });
    const status = this.#status === "all" ? null : this.#status;
    return this.#api.get(`/users/${this.#user}/orders`, { status, ...common }, { signal });
  }

  /** Without a socket the list is asked for now and then; with one it tells us. */
  #plan() {
    clearTimeout(this.#timer);
    if (this.#socket.state !== "live") this.#timer = setTimeout(() => this.#refresh(), POLL_MS);
  }

  #onNews(message) {
    if (message.type !== "order" || this.#isNews) return;
    // An order may have left or entered this list: the list itself knows best.
    this.#isNews = true;
    setTimeout(() => {
      this.#isNews = false;
      this.#refresh();
    }, NEWS_WAIT_MS);
  }

  #fail(error) {
    this.#isFailing = true;
    const isThere = this.#orders.length > 0;
    const state = error.status === 0 ? "down" : "stale";
    this.emit("state", state, `${error.message} (${this.#api.baseUrl})`);
    if (isThere) return;
    const text =
      error.status === 0
        ? `The order system does not answer at ${this.#api.baseUrl}. Trying again…`
        : `The order system says: ${error.message}`;
    this.#list.replaceChildren(h("p", { class: "empty" }, text));
  }

  #draw() {
    if (this.#orders.length === 0) {
      const whose = this.#user === "" ? "" : " of this user";
      const what = this.#status === "all" ? "" : `${this.#status} `;
      this.#list.replaceChildren(h("p", { class: "empty" }, `There are no ${what}orders${whose}.`));
      return;
    }
    const heads = COLUMNS.map(([name, tone]) => h("th", { scope: "col", class: tone }, name));
    const rows = this.#orders.map((order) => this.#row(order));
    const more = h("button", { type: "button", class: "more" }, "Show more");
    more.addEventListener("click", () => {
      more.disabled = true;
      this.#readMore();
    });
    const count = `${this.#orders.length} of ${this.#total} orders`;
    const focused = document.activeElement?.closest?.("tr")?.dataset.id;
    this.#list.replaceChildren(
      h(
        "table",
        {},
        h("caption", { class: "hidden" }, count),
        h("thead", {}, h("tr", {}, ...heads)),
        h("tbody", {}, ...rows),
      ),
      ...(this.#cursor === null ? [] : [more]),
    );
    if (focused) this.#list.querySelector(`tr[data-id="${focused}"] button`)?.focus();
  }

  #row(order) {
    const details = () => showOrder(this.#api, order.id);
    const user = () => this.showUser(order.user_address);
    const link = (text, title, onclick) =>
      h("button", { type: "button", class: "link", title, onclick }, text);
    const pair = `${tokenName(order, "token_in")} → ${tokenName(order, "token_out")}`;
    return h(
      "tr",
      { dataset: { id: String(order.id) } },
      h("td", { class: "number" }, link(`#${order.id}`, "History of this order", details)),
      h("td", {}, order.order_type),
      h("td", { class: order.is_long ? "up" : "down" }, order.is_long ? "▲ long" : "▼ short"),
      h("td", {}, pair),
      h("td", { class: "number", title: order.amount_in }, short(order.amount_in)),
      h("td", { class: "number", title: order.target_price }, short(order.target_price)),
      h("td", {}, h("span", { class: `tag ${order.status}` }, order.status)),
      h("td", {}, link(ellipsis(order.user_address), `Orders of ${order.user_address}`, user)),
      h("td", { class: "muted" }, moment(Date.parse(order.created_at))),
    );
  }
}

function tokenName(order, which) {
  const address = order[which];
  if (/^0x0{40}$/.test(address)) return order[`${which}_symbol`] || "ETH";
  return order[`${which}_symbol`] || ellipsis(address, 6, 2);
}

function isBelow(order, other) {
  if (order.block_number !== other.block_number) return order.block_number < other.block_number;
  return order.id < other.id;
}
