// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Says how old what is shown is, and shows old as old. One look a second at everything.

import { byId, setText } from "./dom.js";
import { staleText } from "./health.js";

const LOOK_MS = 1_000;
const BOOK_OLD_MS = 10_000;
// A minute without any trade still brings its candle's close.
const CANDLES_OLD_MS = 75_000;

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
    const away = lostMs === null ? null : now - lostMs;
    const bookAge = away ?? ageOfBook(book, socket);
    const candleAge = away ?? (candles.heardMs === null ? null : now - candles.heardMs);
    mark("book", away !== null || bookAge > BOOK_OLD_MS, bookAge);
    const isQuiet = candleAge > CANDLES_OLD_MS || (bookAge > BOOK_OLD_MS && candleAge > BOOK_OLD_MS);
    mark("chart", away !== null || isQuiet, candleAge);
    health.set("feed", "Data from the exchange", isQuiet && away === null ? "stale" : "live",
      isQuiet && away === null ? `nothing new for ${staleText(candleAge).replace(" old", "")}` : "");
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
  setText(badge, isStale ? staleText(ageMs ?? 0) : "");
}
