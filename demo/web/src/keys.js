// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Keyboard shortcuts of the whole page; each panel has its own beside.

import { byId, h, openDialog } from "./dom.js";
import { TIMEFRAMES } from "./timeframes.js";

const HELP = [
  ["/", "search the markets"],
  ["↑ ↓ Enter", "choose in the list of markets"],
  ["[ ]", "shorter or longer timeframe"],
  ["← → + − End", "in the chart: scroll, zoom, newest"],
  ["t", "dark or light"],
  ["h", "how every part is"],
  ["?", "these shortcuts"],
];

/**
 * Listens for the shortcuts.
 * @param {{toggleTheme: () => void, timeframe: () => string, setTimeframe: (name: string) => void}} page
 */
export function watchKeys(page) {
  const names = [...TIMEFRAMES.keys()];
  const step = (by) => {
    const name = names[names.indexOf(page.timeframe()) + by];
    if (name) page.setTimeframe(name);
  };
  const actions = {
    "/": () => {
      document.body.dataset.view = "symbols";
      byId("symbol-search").focus();
    },
    "[": () => step(-1),
    "]": () => step(1),
    t: page.toggleTheme,
    h: () => byId("health-button").click(),
    "?": showHelp,
  };
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input[type=search], textarea");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = actions[event.key];
    if (!action || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    action();
  });
  byId("keys-button").addEventListener("click", showHelp);
}

function showHelp() {
  const rows = HELP.flatMap(([keys, what]) => [
    h("dt", {}, ...keys.split(" ").flatMap((key) => [h("kbd", {}, key), " "])),
    h("dd", {}, what),
  ]);
  openDialog(byId("keys"), "keys-title", "Keyboard", h("dl", { class: "pairs" }, ...rows));
}
