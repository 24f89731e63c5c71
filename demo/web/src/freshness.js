// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Says how old what is shown is, and shows old as old. One look a second at everything.

import { byId, setText } from "./dom.js";
import { duration } from "./format.js";

const LOOK_MS = 1_000;
const BOOK_OLD_MS = 10_000;
// A minute without any trade still brings its candle's close.
const CANDLES_OLD_MS = 75_000;
// What has no badge of its own and is as old as the candles.
const DIMMED = ["ticker", "symbols-panel", "trades-panel"];
const FEED = "Data from the exchange";

/**
 * Watches the age of the shown data.
 * @param {{socket: object, book: object, candles: object, health: object}} page
 */
export function watchFreshness({ socket, book, candles, health }) {
  let lostMs = null;
  const look = () => {
    const now = performance.now();
    if (socket.state === "live") lostMs = null;
    else lostMs ??= now;
    const isAway = lostMs !== null;
    const awayMs = isAway ? now - lostMs : null;
    const bookAge = ageOfBook(book, socket) ?? awayMs;
    const candleAge = candles.heardMs === null ? awayMs : now - candles.heardMs;
    const isQuiet = candleAge > CANDLES_OLD_MS || (bookAge > BOOK_OLD_MS && candleAge > BOOK_OLD_MS);
    mark("book", isAway || bookAge > BOOK_OLD_MS, bookAge);
    mark("chart", isAway || isQuiet, candleAge);
    for (const id of DIMMED) byId(id).classList.toggle("is-stale", isAway || isQuiet);
    if (isAway) health.forget("feed");
    else if (isQuiet) health.set("feed", FEED, "stale", `nothing new for ${duration(candleAge)}`);
    else health.set("feed", FEED, "live", "");
  };
  setInterval(look, LOOK_MS);
  socket.on("state", look);
}

function ageOfBook(book, socket) {
  if (book.timestampMs === null) return null;
  return Math.max(0, Date.now() + socket.clockOffsetMs - book.timestampMs);
}

function mark(panel, isStale, ageMs) {
  byId(`${panel}-panel`).classList.toggle("is-stale", isStale);
  const badge = byId(`${panel}-stale`);
  badge.hidden = !isStale;
  setText(badge, isStale ? `${duration(ageMs ?? 0)} old` : "");
}
