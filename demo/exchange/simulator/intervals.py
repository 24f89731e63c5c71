# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The exchange's kline intervals and their grids, in any of its time zones."""

from datetime import UTC, datetime

import msgspec
import numpy as np

from simulator.randomness import Int64s

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
_FIRST_MONDAY_MS = 4 * DAY_MS  # 1970-01-05: weeks start on Mondays


class Interval(msgspec.Struct, frozen=True):
    """A kline interval.

    Attributes:
        name: As in requests, case-sensitive: ``1m`` is a minute, ``1M`` a month.
        width_ms: Width; for months the longest (31 days).
        phase_ms: Where the grid starts after 1970.
    """

    name: str
    width_ms: int
    phase_ms: int = 0

    def open_ms(self, time_ms: int, zone_ms: int = 0) -> int:
        """Return the open time of the kline that holds ``time_ms``.

        Args:
            time_ms: Unix ms.
            zone_ms: What the kline's time zone is ahead of UTC, in ms.
        """
        local = time_ms + zone_ms
        if self.name == "1M":
            moment = datetime.fromtimestamp(local // 1000, UTC)
            return _month_ms(moment.year * 12 + moment.month - 1) - zone_ms
        return local - (local - self.phase_ms) % self.width_ms - zone_ms

    def shift(self, open_ms: int, count: int, zone_ms: int = 0) -> int:
        """Return the open time ``count`` klines after (before, if negative) ``open_ms``."""
        if self.name == "1M":
            moment = datetime.fromtimestamp((open_ms + zone_ms) // 1000, UTC)
            return _month_ms(moment.year * 12 + moment.month - 1 + count) - zone_ms
        return open_ms + count * self.width_ms

    def edges(self, first_open_ms: int, count: int, zone_ms: int = 0) -> Int64s:
        """Return ``count + 1`` open times: of ``count`` klines, and of the one after them."""
        if self.name == "1M":
            months = [self.shift(first_open_ms, i, zone_ms) for i in range(count + 1)]
            return np.array(months, np.int64)
        return first_open_ms + self.width_ms * np.arange(count + 1)


def _month_ms(month_number: int) -> int:
    moment = datetime(month_number // 12, month_number % 12 + 1, 1, tzinfo=UTC)
    return int(moment.timestamp()) * 1000


INTERVALS: dict[str, Interval] = {
    interval.name: interval
    for interval in (
        Interval("1s", SECOND_MS),
        *(Interval(f"{n}m", n * MINUTE_MS) for n in (1, 3, 5, 15, 30)),
        *(Interval(f"{n}h", n * HOUR_MS) for n in (1, 2, 4, 6, 8, 12)),
        Interval("1d", DAY_MS),
        Interval("3d", 3 * DAY_MS),
        Interval("1w", 7 * DAY_MS, _FIRST_MONDAY_MS),
        Interval("1M", 31 * DAY_MS),
    )
}
