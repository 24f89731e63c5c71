// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Dark and light: the person's choice, else the system's, changing with it.

import { remember, remembered } from "./place.js";

const root = document.documentElement;

/** Calls `onChange` whenever the theme changes, by whatever. Returns what toggles it. */
export function watchTheme(onChange) {
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", (event) => {
    if (remembered("theme") === null) set(event.matches ? "light" : "dark", onChange);
  });
  return () => {
    const theme = root.dataset.theme === "light" ? "dark" : "light";
    remember("theme", theme);
    set(theme, onChange);
  };
}

function set(theme, onChange) {
  root.dataset.theme = theme;
  onChange();
}

/** Returns the colours of the theme in force, for what draws on a canvas. */
export function colours() {
  const style = getComputedStyle(root);
  const get = (name) => style.getPropertyValue(name).trim();
  return {
    text: get("--muted"),
    strong: get("--text"),
    panel: get("--panel"),
    line: get("--line"),
    grid: get("--grid"),
    up: get("--up"),
    down: get("--down"),
    upSoft: get("--up-soft"),
    downSoft: get("--down-soft"),
  };
}
