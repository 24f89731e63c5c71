# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""History: from START_DATE to the start of the live candles, newest first."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from collector.archived import ArchivedDays
from collector.fetching import Fetching
from collector.gaps import MinuteRange, split_at, subtract
from collector.ports import CandleStore, Exchange
from collector.progress import Progress
from collector.surroundings import Surroundings
from linkora.errors import RejectedError, TransientError
from linkora.timeframes import DAY_MS, MINUTE_MS

log = structlog.get_logger(__name__)

PROGRESS_INTERVAL_S = 5.0
# Asked for first: what people look at, and what the archive does not have yet.
RECENT_DAYS = 3
# So many days of minutes fit into one transaction (10,000 rows at most).
DAYS_AT_ONCE = 6
NOT_LISTED = "not_listed"


class Backfill:
    """Fetches what is missing of each symbol's history."""

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        exchange: Exchange,
        store: CandleStore,
        fetching: Fetching,
        around: Surroundings,
        until_ms: Callable[[], int],
        archived: ArchivedDays | None = None,
    ) -> None:
        self._symbols = symbols
        self._exchange = exchange
        self._store = store
        self._fetching = fetching
        self._around = around
        self._until_ms = until_ms
        self._archived = archived
        self._progress: dict[str, Progress] = {}

    def progress(self) -> Mapping[str, dict[str, str | float]]:
        """Return the progress of the symbols whose history is not complete."""
        return {s: p.tell() for s, p in self._progress.items() if p.done < p.wanted}

    async def fill(self) -> None:
        """Bring the history of every symbol up to where the live candles began."""
        places = asyncio.Semaphore(self._around.settings.backfill_symbols_at_once)

        async def one(symbol: str) -> None:
            async with places:
                await self._fill_symbol(symbol)

        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(self._report())
            async with asyncio.TaskGroup() as fillers:
                for symbol in self._symbols:
                    fillers.create_task(one(symbol))
            reporter.cancel()
        log.info("history_complete", symbols=len(self._symbols))

    async def _fill_symbol(self, symbol: str) -> None:
        try:
            span = MinuteRange(self._around.settings.start_ms, self._until_ms())
            missing = await self._fetching.until_done(
                "database", lambda: self._store.missing_ranges(symbol, span.from_ms, span.to_ms)
            )
            if missing:
                missing = await self._leave_out_unlisted(symbol, missing)
            wanted = sum(part.minutes for part in missing)
            if not wanted:
                return
            progress = Progress(
                missing[0].from_ms, missing[-1].to_ms, wanted, started=time.monotonic()
            )
            self._progress[symbol] = progress
            cut_ms = self._around.clock.now_ms() // DAY_MS * DAY_MS - RECENT_DAYS * DAY_MS
            older, recent = split_at(missing, cut_ms)
            await self._fetch_all(symbol, recent, progress)
            if await self._take_from_archive(symbol, older, progress):
                older = await self._fetching.until_done(
                    "database", lambda: self._store.missing_ranges(symbol, span.from_ms, cut_ms)
                )
            await self._fetch_all(symbol, older, progress)
            progress.done = wanted
        except RejectedError as error:
            log.error("history_refused", symbol=symbol, reason=str(error))

    async def _fetch_all(
        self, symbol: str, missing: Sequence[MinuteRange], progress: Progress
    ) -> None:
        for batch in self._fetching.batches(missing):
            await self._fetching.fetch(symbol, batch)
            self._advance(symbol, progress, sum(page.minutes for page in batch))

    async def _take_from_archive(
        self, symbol: str, missing: Sequence[MinuteRange], progress: Progress
    ) -> bool:
        """Store the days that the archive has; return whether there was any."""
        found_any = False
        if self._archived is None:
            return False
        for days_ms in self._archived.expected(missing, self._around.clock.now_ms()):
            try:
                found = await self._archived.fetch(symbol, days_ms)
            except TransientError as error:
                log.warning("archive_left_out", symbol=symbol, reason=str(error))
                return found_any
            bodies = list(found.values())
            for start in range(0, len(bodies), DAYS_AT_ONCE):
                await self._fetching.store_bodies(
                    symbol, bodies[start : start + DAYS_AT_ONCE], "archive"
                )
            found_any = found_any or bool(bodies)
            self._advance(symbol, progress, len(bodies) * DAY_MS // MINUTE_MS)
        return found_any

    def _advance(self, symbol: str, progress: Progress, minutes: int) -> None:
        progress.done += minutes
        share = progress.done / progress.wanted
        self._around.metrics.backfill_progress.labels(symbol).set(min(share, 1.0))

    async def _leave_out_unlisted(
        self, symbol: str, missing: list[MinuteRange]
    ) -> list[MinuteRange]:
        """Explain the time before the symbol's first candle in one request, not in thousands."""
        start_ms = missing[0].from_ms
        _, rows = await self._fetching.until_done(
            "exchange",
            lambda: self._exchange.klines(symbol, start_ms=start_ms, limit=1, is_background=True),
        )
        if not rows:
            return missing  # an empty answer explains nothing
        first_ms = min(rows[0].minute_ms, missing[-1].to_ms)
        if first_ms <= missing[0].to_ms:
            return missing
        unlisted = MinuteRange(start_ms, first_ms)
        await self._fetching.note(symbol, [unlisted], NOT_LISTED)
        return [part for span in missing for part in subtract(span, [unlisted])]

    async def refetch(self, symbol: str, span: MinuteRange) -> int:
        """Fetch stored minutes again; return how many differed and are corrected now.

        Raises:
            RejectedError: If the exchange does not give them.
        """
        corrected = 0
        for batch in self._fetching.batches([span]):
            corrected += await self._fetching.fetch(symbol, batch)
        return corrected

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL_S)
            for symbol, told in self.progress().items():
                log.info("history_progress", symbol=symbol, **told)
