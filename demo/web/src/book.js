// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// The order book: twenty levels a side with the depth up to each, and the spread between them.

import { byId, h, setText } from "./dom.js";
import { compact, decimalsOf, fixed } from "./format.js";

const LEVELS = 20;

export class BookPanel {
  #asks = makeSide("asks");
  #bids = makeSide("bids");
  #mid = h("b", { id: "mid" }, "–");
  #spread = h("span", { id: "spread" }, "");
  #pending = null;

  constructor() {
    this.symbol = null;
    this.timestampMs = null;
    byId("book").replaceChildren(
      h("div", { class: "columns" }, ...["Price", "Amount", "Total"].map((name) => h("span", {}, name))),
      h(
        "div",
        { class: "rows" },
        this.#asks.element,
        h("div", { class: "spread" }, this.#mid, this.#spread),
        this.#bids.element,
      ),
    );
  }

  /** Shows another symbol; empty until its first book comes. */
  show(symbol) {
    this.symbol = symbol;
    this.timestampMs = null;
    this.#pending = null;
    this.#draw({ bids: [], asks: [] });
  }

  /** Takes a book of the socket or of `/orderbook`. Drawn once a frame, however many come. */
  hear(book) {
    if (book.symbol !== this.symbol || book.timestamp < (this.timestampMs ?? 0)) return;
    this.timestampMs = book.timestamp;
    if (this.#pending === null) {
      requestAnimationFrame(() => {
        if (this.#pending !== null) this.#draw(this.#pending);
        this.#pending = null;
      });
    }
    this.#pending = book;
  }

  #draw({ bids, asks }) {
    const decimals = decimalsOf([...bids, ...asks].map((level) => level.price));
    const amounts = decimalsOf([...bids, ...asks].map((level) => level.quantity), 0);
    const sides = [withDepth(bids.slice(0, LEVELS)), withDepth(asks.slice(0, LEVELS))];
    const most = Math.max(...sides.map((side) => side.at(-1)?.depth ?? 0)) || 1;
    fillSide(this.#bids, sides[0], { decimals, amounts, most });
    fillSide(this.#asks, sides[1], { decimals, amounts, most });
    const [bid, ask] = [Number(bids[0]?.price), Number(asks[0]?.price)];
    if (!(bid > 0 && ask > 0)) {
      setText(this.#mid, "–");
      setText(this.#spread, "");
      return;
    }
    const middle = (bid + ask) / 2;
    setText(this.#mid, fixed(middle, decimals));
    const basisPoints = ((ask - bid) / middle) * 10_000;
    setText(this.#spread, `spread ${fixed(ask - bid, decimals)} (${fixed(basisPoints, 2)} bp)`);
  }
}

function makeSide(name) {
  const rows = Array.from({ length: LEVELS }, () => {
    const cells = [h("span"), h("span"), h("span")];
    return { cells, element: h("div", { class: "level", hidden: true }, ...cells) };
  });
  const shown = rows.map((row) => row.element);
  if (name === "asks") shown.reverse();
  return { rows, element: h("div", { class: `side ${name}`, "aria-label": name, role: "group" }, ...shown) };
}

function withDepth(levels) {
  let depth = 0;
  return levels.map(({ price, quantity }) => {
    depth += Number(quantity);
    return { price, quantity, depth };
  });
}

function fillSide({ rows }, levels, { decimals, amounts, most }) {
  rows.forEach(({ element, cells }, index) => {
    const level = levels[index];
    element.hidden = level === undefined;
    if (level === undefined) return;
    setText(cells[0], fixed(level.price, decimals));
    setText(cells[1], amount(level.quantity, amounts));
    setText(cells[2], amount(level.depth, amounts));
    element.style.setProperty("--depth", (level.depth / most).toFixed(3));
  });
}

/** Large amounts are shortened: nobody reads ten digits that change twice a second. */
function amount(quantity, decimals) {
  return Number(quantity) >= 1e6 ? compact(quantity) : fixed(quantity, Math.min(decimals, 5));
}
