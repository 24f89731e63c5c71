# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The newest 24 hours of every symbol, read at most once a second for all who ask."""

import asyncio
import time
from typing import Protocol

from marketdata.binance_tickers import Day

MAX_AGE_S = 1.0


class Queries(Protocol):
    """What is read. Every method raises ``TransientError`` while the database is away."""

    async def newest_days(self, symbols: list[str]) -> list[Day]:
        """Return what the newest 24 hours of each symbol add up to."""


class Symbols(Protocol):
    """What is known of symbols."""

    async def names(self) -> list[str]:
        """Return the known symbols in alphabetical order."""


class Days:
    """Remembers what was read last."""

    def __init__(self, queries: Queries, symbols: Symbols) -> None:
        self._queries = queries
        self._symbols = symbols
        self._known: dict[str, Day] = {}
        self._read_s = -MAX_AGE_S
        self._lock = asyncio.Lock()

    async def newest(self) -> dict[str, Day]:
        """Return each symbol's newest 24 hours, at most a second old.

        Raises:
            TransientError: While the database is away.
        """
        async with self._lock:
            if time.monotonic() - self._read_s >= MAX_AGE_S:
                days = await self._queries.newest_days(await self._symbols.names())
                self._known = {day.symbol: day for day in days}
                self._read_s = time.monotonic()
            return self._known
