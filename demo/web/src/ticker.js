// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// The line at the top: the chosen symbol, its price and its last 24 hours.

import { byId, h } from "./dom.js";
import { compact, fixed, percent } from "./format.js";

/** Shows a market of `Markets`. */
export function showTicker(market) {
  const { symbol, price, change, decimals, day } = market;
  const shown = price === null ? "–" : fixed(price, decimals);
  const tone = change === null ? "muted" : change < 0 ? "down" : "up";
  byId("ticker").replaceChildren(
    h("span", { class: "name" }, symbol),
    h("span", { class: `price ${tone}`, id: "price" }, shown),
    h("span", { class: tone }, change === null ? "" : percent(change)),
    day.length === 0
      ? null
      : h(
          "dl",
          {},
          pair("24h high", fixed(Math.max(...day.map((quarter) => quarter.high)), decimals)),
          pair("24h low", fixed(Math.min(...day.map((quarter) => quarter.low)), decimals)),
          pair("24h volume", compact(day.reduce((sum, { volume }) => sum + volume, 0))),
        ),
  );
  document.title = price === null ? "Linkora" : `${shown} ${symbol} – Linkora`;
}

function pair(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}
