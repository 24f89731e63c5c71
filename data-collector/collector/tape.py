# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The trades of now, told in small batches; the newest of each symbol are kept in Redis."""

import asyncio
from collections import deque

from collector.ports import News
from collector.surroundings import Surroundings
from linkora.market import Trade

# What a symbol may print in one interval; beyond it the oldest are left out.
MAX_WAITING_TRADES = 5_000


class Tape:
    """Collects the trades of all symbols until they are told."""

    def __init__(self, *, news: News, around: Surroundings) -> None:
        self._news = news
        self._around = around
        self._waiting: dict[str, deque[Trade]] = {}
        self._last_id: dict[str, int] = {}

    def on_trade(self, trade: Trade) -> None:
        """Add a trade; one that was told already (two connections overlap) is left out."""
        if trade.id <= self._last_id.get(trade.symbol, -1):
            return
        self._last_id[trade.symbol] = trade.id
        waiting = self._waiting.setdefault(trade.symbol, deque(maxlen=MAX_WAITING_TRADES))
        waiting.append(trade)

    async def tell(self) -> None:
        """Publish what has been traded, every REALTIME_INTERVAL."""
        while True:
            await asyncio.sleep(self._around.settings.realtime_interval)
            waiting, self._waiting = self._waiting, {}
            if waiting:
                await self._news.trades({symbol: list(t) for symbol, t in waiting.items()})
