// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// A line of closes in a small SVG.

import { svg } from "./dom.js";

const [WIDTH, HEIGHT, PAD] = [64, 26, 2];

/** Returns the SVG; colour comes from its class. */
export function sparkline() {
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "spark-area" }),
    svg("path", { class: "spark-line" }),
  );
}

/** Draws `closes` (numbers, oldest first) into it. */
export function draw(element, closes) {
  if (closes.length < 2) return;
  const [low, high] = [Math.min(...closes), Math.max(...closes)];
  const points = closes.map((close, index) => {
    const x = (index / (closes.length - 1)) * WIDTH;
    const share = high > low ? (close - low) / (high - low) : 0.5;
    return `${x.toFixed(1)},${(HEIGHT - PAD - share * (HEIGHT - 2 * PAD)).toFixed(1)}`;
  });
  const line = `M${points.join("L")}`;
  const [area, stroke] = element.children;
  stroke.setAttribute("d", line);
  area.setAttribute("d", `${line}L${WIDTH},${HEIGHT}L0,${HEIGHT}Z`);
  element.setAttribute("class", closes.at(-1) < closes[0] ? "down" : "up");
}
