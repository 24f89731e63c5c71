# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""History out of the archive: monthly files, then daily ones, and what they lack by REST."""

from collections.abc import Sequence

from collector.gaps import MinuteRange, whole_days
from collector.ports import Archive
from linkora.timeframes import DAY_MS, TIMEFRAMES

# From so many whole days of a month on, one monthly file is cheaper than the daily ones.
MONTHLY_FROM_DAYS = 8
# Files appear a day late and now and then later.
FILES_FROM_AGE_MS = 2 * DAY_MS


class ArchivedDays:
    """Fetches the days that the archive can be expected to have.

    Args:
        archive: Where the files are.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def expected(self, missing: Sequence[MinuteRange], now_ms: int) -> list[list[int]]:
        """Return the days to ask the archive for, month by month, newest first."""
        months: dict[int, list[int]] = {}
        for day_ms in whole_days(missing):
            if day_ms + DAY_MS + FILES_FROM_AGE_MS <= now_ms:
                months.setdefault(TIMEFRAMES["1M"].open_ms(day_ms), []).append(day_ms)
        return list(months.values())

    async def fetch(self, symbol: str, days_ms: Sequence[int]) -> dict[int, bytes]:
        """Return those days of one month that the archive has whole, as klines pages.

        Raises:
            TransientError: If the archive is away.
        """
        found: dict[int, bytes] = {}
        if len(days_ms) >= MONTHLY_FROM_DAYS:
            found = await self._archive.month(symbol, days_ms[0])
        for day_ms in days_ms:
            if day_ms not in found:
                found = {**found, **await self._archive.day(symbol, day_ms)}
        return {day_ms: found[day_ms] for day_ms in days_ms if day_ms in found}
