# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""History: from START_DATE to the start of the live candles, and whatever is missing later."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
import structlog

from collector.archived import ArchivedDays
from collector.binance.wire import KlineRow
from collector.gaps import MinuteRange, batches, holes, pages, split_at, subtract
from collector.ports import CandleStore, Exchange, Gap, News, SenselessError
from collector.surroundings import Surroundings
from linkora.backoff import retry
from linkora.errors import RejectedError, TransientError
from linkora.timeframes import DAY_MS, MINUTE_MS

log = structlog.get_logger(__name__)

PROGRESS_INTERVAL_S = 5.0
REPAIR_INTERVAL_S = 5.0
GAPS_AT_ONCE = 50
# Asked for first: what people look at, and what the archive does not have yet.
RECENT_DAYS = 3
# So many days of minutes fit into one transaction (10,000 rows at most).
DAYS_AT_ONCE = 6
# A minute that ended more recently may be on its way into REST still: it was seen 5 behind.
SETTLED_AFTER_MS = 10 * MINUTE_MS
# So often a page is asked for whose answers make no sense, before others get their turn.
SENSELESS_TRIES = 8
NOT_LISTED = "not_listed"
EXCHANGE_HAD_NONE = "exchange_had_none"
REFUSED = "exchange_refused"

T = TypeVar("T")


class Progress(msgspec.Struct):
    """How far the history of one symbol has come, in minutes of the span that was missing."""

    from_ms: int
    to_ms: int
    wanted: int
    done: int = 0
    started: float = 0.0

    def tell(self) -> dict[str, str | float]:
        """Return the progress as a reader wants it: percent, rate and seconds left."""
        elapsed = max(time.monotonic() - self.started, 0.001)
        rate = self.done / elapsed
        left = self.wanted - self.done
        return {
            "from": _iso(self.from_ms),
            "to": _iso(self.to_ms),
            "percent": round(100 * self.done / self.wanted, 1) if self.wanted else 100.0,
            "candles_per_second": round(rate),
            "seconds_left": round(left / rate) if rate else 0.0 if not left else -1.0,
        }


class Backfill:
    """Fetches what is missing, newest first, and keeps the ledger of gaps."""

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        exchange: Exchange,
        store: CandleStore,
        news: News,
        around: Surroundings,
        until_ms: Callable[[], int],
        archived: ArchivedDays | None = None,
    ) -> None:
        self._symbols = symbols
        self._exchange = exchange
        self._store = store
        self._news = news
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

    async def repair(self) -> None:
        """Ask again and again for the minutes of open gaps, until they come or are explained."""
        while True:
            await asyncio.sleep(REPAIR_INTERVAL_S)
            gaps = await self._until_done(
                "database", lambda: self._store.due_gaps(self._symbols, GAPS_AT_ONCE)
            )
            for gap in gaps:
                await self._repair(gap)
            open_gaps = await self._until_done(
                "database", lambda: self._store.open_gaps(self._symbols)
            )
            self._around.metrics.open_gaps.set(open_gaps)

    async def _fill_symbol(self, symbol: str) -> None:
        try:
            span = MinuteRange(self._around.settings.start_ms, self._until_ms())
            missing = await self._until_done(
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
                older = await self._until_done(
                    "database", lambda: self._store.missing_ranges(symbol, span.from_ms, cut_ms)
                )
            await self._fetch_all(symbol, older, progress)
            progress.done = wanted
        except RejectedError as error:
            log.error("history_refused", symbol=symbol, reason=str(error))

    async def _fetch_all(
        self, symbol: str, missing: Sequence[MinuteRange], progress: Progress
    ) -> None:
        for batch in batches(pages(missing), self._around.settings.backfill_batch_minutes):
            await self._fetch(symbol, batch, attempts=1)
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
                await self._store_bodies(symbol, bodies[start : start + DAYS_AT_ONCE], "archive")
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
        _, rows = await self._until_done(
            "exchange",
            lambda: self._exchange.klines(symbol, start_ms=start_ms, limit=1, is_background=True),
        )
        if not rows:
            return missing  # an empty answer explains nothing
        first_ms = min(rows[0].minute_ms, missing[-1].to_ms)
        if first_ms <= missing[0].to_ms:
            return missing
        unlisted = MinuteRange(start_ms, first_ms)
        await self._note(symbol, [unlisted], NOT_LISTED)
        return [part for span in missing for part in subtract(span, [unlisted])]

    async def refetch(self, symbol: str, span: MinuteRange) -> int:
        """Fetch stored minutes again; return how many differed and are corrected now.

        Raises:
            RejectedError: If the exchange does not give them.
        """
        corrected = 0
        for batch in batches(pages([span]), self._around.settings.backfill_batch_minutes):
            corrected += await self._fetch(symbol, batch, attempts=1)
        return corrected

    async def _fetch(self, symbol: str, batch: Sequence[MinuteRange], attempts: int) -> int:
        """Fetch pages side by side, store them together, enter their holes in the ledger.

        Returns:
            How many stored minutes are new or different.
        """
        asked_ms = self._around.clock.now_ms()  # what closed later was not final in the answer
        answers = await self._pages(symbol, batch)
        bodies = [body for body, _ in answers]
        opens = [row.open_time_ms for _, rows in answers for row in rows]
        changed = await self._store_bodies(symbol, bodies, "history", final_before_ms=asked_ms)
        lacking = [hole for page in batch for hole in holes(page, opens)]
        if lacking:
            is_final = self._is_confirmed(lacking, attempts)
            await self._note(symbol, lacking, EXCHANGE_HAD_NONE if is_final else None)
            if is_final:
                self._around.metrics.explained_gaps.inc(len(lacking))
        elif attempts > 1:
            self._around.metrics.repaired_gaps.inc()
        return changed

    def _is_confirmed(self, gaps: Sequence[MinuteRange], attempts: int) -> bool:
        """Return whether the exchange will not give these minutes any more."""
        settled_ms = self._around.clock.now_ms() - SETTLED_AFTER_MS
        is_settled = all(gap.to_ms <= settled_ms for gap in gaps)
        return is_settled and attempts >= self._around.settings.gap_confirmations

    async def _store_bodies(
        self,
        symbol: str,
        bodies: Sequence[bytes],
        source: str,
        *,
        final_before_ms: int | None = None,
    ) -> int:
        final_ms = self._around.clock.now_ms() if final_before_ms is None else final_before_ms
        with self._around.metrics.write_seconds.labels(source).time():
            stored = await self._until_done(
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

        return await self._until_done("exchange", ask)

    async def _repair(self, gap: Gap) -> None:
        attempts = gap.attempts + 1
        log.info("gap_retried", symbol=gap.symbol, minutes=gap.span.minutes, attempts=attempts)
        try:
            for batch in batches(pages([gap.span]), self._around.settings.backfill_batch_minutes):
                await self._fetch(gap.symbol, batch, attempts=attempts)
        except RejectedError as error:
            log.warning("gap_refused", symbol=gap.symbol, reason=str(error))
            is_final = self._is_confirmed([gap.span], attempts)
            await self._note(gap.symbol, [gap.span], REFUSED if is_final else None)

    async def _note(self, symbol: str, gaps: Sequence[MinuteRange], reason: str | None) -> None:
        await self._until_done(
            "database",
            lambda: self._store.note_gaps(
                symbol, gaps, retry_after_s=self._around.settings.gap_retry_s, reason=reason
            ),
        )

    async def _until_done(self, neighbour: str, call: Callable[[], Awaitable[T]]) -> T:
        done = await retry(call, on_error=lambda error: self._around.lost(neighbour, error))
        self._around.found(neighbour)
        return done

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL_S)
            for symbol, told in self.progress().items():
                log.info("history_progress", symbol=symbol, **told)


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
