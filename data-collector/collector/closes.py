# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Closed minutes on their way: into the database, and then, once committed, to the readers."""

import asyncio
from collections.abc import Sequence

import structlog

from collector.ports import CandleStore, News
from collector.surroundings import Surroundings
from linkora.backoff import Backoff, retry
from linkora.market import Candle

log = structlog.get_logger(__name__)

# Closes of many symbols come within a moment of each other: they share a transaction.
GATHER_S = 0.02
CLOSES_AT_ONCE = 500
# While the database is away closes wait here; the exchange keeps the rest for us.
MAX_WAITING_CLOSES = 20_000


class Closes:
    """Holds closes and corrections until they are stored and told.

    Attributes:
        were_dropped: Set when more waited than are held: history must bring those.
    """

    def __init__(self, *, store: CandleStore, news: News, around: Surroundings) -> None:
        self._store = store
        self._news = news
        self._around = around
        self._waiting: dict[tuple[str, int], Candle] = {}
        self._corrections: dict[tuple[str, int], Candle] = {}
        self._something_came = asyncio.Event()
        self.were_dropped = asyncio.Event()

    def add(self, candle: Candle, *, is_row: bool) -> None:
        """Have a close stored and told.

        Args:
            candle: The closed minute.
            is_row: Whether it is the exchange's own row, which corrects what is stored.
        """
        kept = self._corrections if is_row else self._waiting
        kept[candle.symbol, candle.open_time_ms] = candle
        self._bound()
        self._something_came.set()

    def _bound(self) -> None:
        count = len(self._waiting) + len(self._corrections)
        if count > MAX_WAITING_CLOSES:
            log.warning("waiting_closes_dropped", count=count)
            self._waiting.clear()
            self._corrections.clear()
            self.were_dropped.set()

    async def keep(self) -> None:
        """Write every close and correction, and tell it after the commit, for ever."""
        while True:
            await self._something_came.wait()
            await asyncio.sleep(GATHER_S)
            self._something_came.clear()
            while self._waiting:
                await self._store_some(self._waiting, authoritative=False)
            while self._corrections:
                await self._store_some(self._corrections, authoritative=True)

    async def _store_some(
        self, waiting: dict[tuple[str, int], Candle], *, authoritative: bool
    ) -> None:
        batch = dict(list(waiting.items())[:CLOSES_AT_ONCE])
        try:
            changed = await retry(
                lambda: self._store.store_states(list(batch.values()), authoritative=authoritative),
                on_error=lambda error: self._around.lost("database", error),
                backoff=Backoff(longest_s=3.0),
            )
            self._around.found("database")
            for key, candle in batch.items():
                if waiting.get(key) is candle:
                    del waiting[key]
            self._count(changed)
            await self._news.candles(changed)
        except asyncio.CancelledError:
            # The symbols change hands: what is committed may not have been told.
            for symbol in dict.fromkeys(symbol for symbol, _ in batch):
                self._news.history_changed(symbol)
            raise

    def _count(self, changed: Sequence[Candle]) -> None:
        for candle in changed:
            if candle.revision:
                self._around.metrics.revisions.inc()
                log.warning(
                    "closed_candle_revised",
                    symbol=candle.symbol,
                    open_time_ms=candle.open_time_ms,
                    revision=candle.revision,
                )
        self._around.metrics.candles_stored.labels("close").inc(len(changed))
        self._around.metrics.closes.inc(len(changed))
