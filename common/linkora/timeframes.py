# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The thirteen candle widths and their grids, all in UTC."""

from datetime import UTC, datetime

import msgspec

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
_FIRST_MONDAY_MS = 4 * DAY_MS  # 1970-01-05; 1970-01-01 was a Thursday


class Timeframe(msgspec.Struct, frozen=True):
    """One candle width.

    Attributes:
        name: The name that clients use, such as ``5``, ``1H`` or ``1M``.
        table: The table that holds its candles.
        width_ms: Width in milliseconds; for months the longest one (31 days).
        parent: Which of minutes, hours and days it can be made of, ``None`` for one minute.
    """

    name: str
    table: str
    width_ms: int
    parent: str | None

    def open_ms(self, time_ms: int) -> int:
        """Return the open time of the candle that holds ``time_ms`` (Unix ms, UTC)."""
        if self.name == "1M":
            moment = datetime.fromtimestamp(time_ms // 1000, UTC)
            return _month_ms(moment.year, moment.month)
        offset = _FIRST_MONDAY_MS if self.name == "1W" else 0
        return time_ms - (time_ms - offset) % self.width_ms

    def next_open_ms(self, open_ms: int) -> int:
        """Return the open time of the candle after the one that opens at ``open_ms``."""
        if self.name == "1M":
            moment = datetime.fromtimestamp(open_ms // 1000, UTC)
            return _month_ms(moment.year + moment.month // 12, moment.month % 12 + 1)
        return open_ms + self.width_ms

    def close_ms(self, open_ms: int) -> int:
        """Return the last millisecond of the candle that opens at ``open_ms``."""
        return self.next_open_ms(open_ms) - 1


def _month_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000


TIMEFRAMES: dict[str, Timeframe] = {
    frame.name: frame
    for frame in (
        Timeframe("1", "candles", MINUTE_MS, None),
        Timeframe("3", "candles_3m", 3 * MINUTE_MS, "1"),
        Timeframe("5", "candles_5m", 5 * MINUTE_MS, "1"),
        Timeframe("15", "candles_15m", 15 * MINUTE_MS, "1"),
        Timeframe("30", "candles_30m", 30 * MINUTE_MS, "1"),
        Timeframe("45", "candles_45m", 45 * MINUTE_MS, "1"),
        Timeframe("1H", "candles_1h", HOUR_MS, "1"),
        Timeframe("2H", "candles_2h", 2 * HOUR_MS, "1H"),
        Timeframe("3H", "candles_3h", 3 * HOUR_MS, "1H"),
        Timeframe("4H", "candles_4h", 4 * HOUR_MS, "1H"),
        Timeframe("1D", "candles_1d", DAY_MS, "1H"),
        Timeframe("1W", "candles_1w", WEEK_MS, "1D"),
        Timeframe("1M", "candles_1mo", 31 * DAY_MS, "1D"),
    )
}


def floor_minute_ms(time_ms: int) -> int:
    """Return the open time of the minute that holds ``time_ms``."""
    return time_ms - time_ms % MINUTE_MS
