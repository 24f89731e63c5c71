// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// The thirteen timeframes by the names of the API.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Name → [label, what it is, width in ms (months: the longest)]. */
export const TIMEFRAMES = new Map([
  ["1", ["1m", "1 minute", MINUTE]],
  ["3", ["3m", "3 minutes", 3 * MINUTE]],
  ["5", ["5m", "5 minutes", 5 * MINUTE]],
  ["15", ["15m", "15 minutes", 15 * MINUTE]],
  ["30", ["30m", "30 minutes", 30 * MINUTE]],
  ["45", ["45m", "45 minutes", 45 * MINUTE]],
  ["1H", ["1h", "1 hour", HOUR]],
  ["2H", ["2h", "2 hours", 2 * HOUR]],
  ["3H", ["3h", "3 hours", 3 * HOUR]],
  ["4H", ["4h", "4 hours", 4 * HOUR]],
  ["1D", ["1D", "1 day", DAY]],
  ["1W", ["1W", "1 week, from Monday", 7 * DAY]],
  ["1M", ["1M", "1 calendar month", 31 * DAY]],
]);

/** Returns the longest time that a bucket of this timeframe can last, in ms. */
export function widthMs(timeframe) {
  return TIMEFRAMES.get(timeframe)[2];
}
