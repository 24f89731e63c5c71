# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Missing minutes from the exchange into the store: pages side by side, their holes noted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from collector.binance.forms import KlineRow
from collector.gaps import MinuteRange, batches, holes, pages
from collector.ports import CandleStore, Exchange, News, SenselessError
from collector.surroundings import Surroundings
from linkora.backoff import retry
from linkora.errors import RejectedError
from linkora.timeframes import MINUTE_MS

# A minute that ended more recently may be on its way into REST still: it was seen 5 behind.
SETTLED_AFTER_MS = 10 * MINUTE_MS
# So often a page is asked for whose answers make no sense, before others get their turn.
SENSELESS_TRIES = 8
EXCHANGE_HAD_NONE = "exchange_had_none"

T = TypeVar("T")


class Fetching:
    """Brings minutes into the store, however long a neighbour is away."""

    def __init__(
        self, *, exchange: Exchange, store: CandleStore, news: News, around: Surroundings
    ) -> None:
        self._exchange = exchange
        self._store = store
        self._news = news
        self._around = around

    def batches(self, missing: Sequence[MinuteRange]) -> list[list[MinuteRange]]:
        """Return the pages that bring these minutes, newest first, as they are stored together."""
        return batches(pages(missing), self._around.settings.backfill_batch_minutes)

    async def fetch(self, symbol: str, batch: Sequence[MinuteRange], attempts: int = 1) -> int:
        """Fetch pages side by side, store them together, enter their holes in the ledger.

        Returns:
            How many stored minutes are new or different.
        """
        asked_ms = self._around.clock.now_ms()  # what closed later was not final in the answer
        answers = await self._pages(symbol, batch)
        bodies = [body for body, _ in answers]
        opens = [row.open_time_ms for _, rows in answers for row in rows]
        changed = await self.store_bodies(symbol, bodies, "history", final_before_ms=asked_ms)
        lacking = [hole for page in batch for hole in holes(page, opens)]
        if lacking:
            is_final = self.is_confirmed(lacking, attempts)
            await self.note(symbol, lacking, EXCHANGE_HAD_NONE if is_final else None)
            if is_final:
                self._around.metrics.explained_gaps.inc(len(lacking))
        elif attempts > 1:
            self._around.metrics.repaired_gaps.inc()
        return changed

    def is_confirmed(self, gaps: Sequence[MinuteRange], attempts: int) -> bool:
        """Return whether the exchange will not give these minutes any more."""
        settled_ms = self._around.clock.now_ms() - SETTLED_AFTER_MS
        is_settled = all(gap.to_ms <= settled_ms for gap in gaps)
        return is_settled and attempts >= self._around.settings.gap_confirmations

    async def store_bodies(
        self,
        symbol: str,
        bodies: Sequence[bytes],
        source: str,
        *,
        final_before_ms: int | None = None,
    ) -> int:
        """Store klines answers as they came; return how many minutes are new or different."""
        final_ms = self._around.clock.now_ms() if final_before_ms is None else final_before_ms
        with self._around.metrics.write_seconds.labels(source).time():
            stored = await self.until_done(
                "database",
                lambda: self._store.store_pages(symbol, bodies, final_before_ms=final_ms),
            )
        self._around.metrics.candles_stored.labels(source).inc(stored.changed)
        self._around.metrics.revisions.inc(stored.revised)
        if stored.changed:
            self._news.history_changed(symbol)
        return stored.changed

    async def _pages(
        self, symbol: str, batch: Sequence[MinuteRange]
    ) -> list[tuple[bytes, list[KlineRow]]]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._page(symbol, page)) for page in batch]
        except ExceptionGroup as group_error:
            refused, others = group_error.split(RejectedError)
            if refused is None or others is not None:
                raise
            raise RejectedError(str(refused.exceptions[0])) from group_error
        return [task.result() for task in tasks]

    async def _page(self, symbol: str, page: MinuteRange) -> tuple[bytes, list[KlineRow]]:
        senseless = 0

        async def ask() -> tuple[bytes, list[KlineRow]]:
            nonlocal senseless
            try:
                return await self._exchange.klines(
                    symbol, start_ms=page.from_ms, end_ms=page.to_ms - 1, is_background=True
                )
            except SenselessError as error:
                senseless += 1
                if senseless < SENSELESS_TRIES:
                    raise
                raise RejectedError(f"{senseless} times: {error}") from error

        return await self.until_done("exchange", ask)

    async def note(self, symbol: str, gaps: Sequence[MinuteRange], reason: str | None) -> None:
        """Enter gaps in the ledger: open, or explained if a reason is given."""
        await self.until_done(
            "database",
            lambda: self._store.note_gaps(
                symbol, gaps, retry_after_s=self._around.settings.gap_retry_s, reason=reason
            ),
        )

    async def until_done(self, neighbour: str, call: Callable[[], Awaitable[T]]) -> T:
        """Return what ``call`` returns, after as many tries as it takes."""
        done = await retry(call, on_error=lambda error: self._around.lost(neighbour, error))
        self._around.found(neighbour)
        return done
