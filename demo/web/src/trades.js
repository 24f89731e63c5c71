// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Recent trades: the last ones by REST, the next ones by the socket.

import { ApiError } from "./api.js";
import { byId, h } from "./dom.js";
import { clock, compact, decimalsOf, fixed } from "./format.js";

const SHOWN = 60;

export class TradesPanel {
  #api;
  #rows = h("div", { class: "rows" });
  #trades = [];
  #isDue = false;

  constructor(api) {
    this.#api = api;
    this.symbol = null;
    const names = ["Price", "Amount", "Time (UTC)"];
    byId("trades").replaceChildren(
      h("div", { class: "columns" }, ...names.map((name) => h("span", {}, name))),
      this.#rows,
    );
  }

  /** Shows another symbol. */
  async show(symbol) {
    this.symbol = symbol;
    this.#trades = [];
    this.#rows.replaceChildren();
    await this.read();
  }

  /** Reads the last trades. */
  async read() {
    const { symbol } = this;
    try {
      const { trades } = await this.#api.get(`/trades/${encodeURIComponent(symbol)}`, { limit: SHOWN });
      if (symbol === this.symbol) this.#take(trades);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (symbol === this.symbol && this.#trades.length === 0) this.say("No trades to show yet.");
    }
  }

  /** Takes a message of the socket. */
  hear(message) {
    if (message.symbol === this.symbol) this.#take(message.trades ?? [message]);
  }

  /** Shows a sentence while there are no trades. */
  say(text) {
    this.#rows.replaceChildren(h("p", { class: "empty" }, text));
  }

  #take(trades) {
    const byNumber = new Map([...this.#trades, ...trades].map((trade) => [trade.id, trade]));
    this.#trades = [...byNumber.values()].sort((a, b) => b.id - a.id).slice(0, SHOWN);
    if (this.#isDue || this.#trades.length === 0) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  #draw() {
    const decimals = decimalsOf(this.#trades.map((trade) => trade.price));
    const amounts = Math.min(5, decimalsOf(this.#trades.map((trade) => trade.quantity), 0));
    this.#rows.replaceChildren(
      ...this.#trades.map((trade) => {
        // The maker bought, so the taker sold: the price was hit from above.
        const isSell = trade.is_buyer_maker;
        const quantity = Number(trade.quantity);
        return h(
          "div",
          { class: "trade", title: isSell ? "sold by the taker" : "bought by the taker" },
          h("span", { class: isSell ? "down" : "up" }, `${isSell ? "▼" : "▲"} ${fixed(trade.price, decimals)}`),
          h("span", {}, quantity >= 1e6 ? compact(quantity) : fixed(quantity, amounts)),
          h("span", { class: "muted" }, clock(trade.timestamp)),
        );
      }),
    );
  }
}
