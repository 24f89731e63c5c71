# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What is read by REST beside the stream: late closes, verification, and polling as a fallback."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import structlog

from collector.books import LiveBooks
from collector.gaps import MinuteRange, holes
from collector.live import LiveCandles
from collector.ports import CandleStore, Exchange
from collector.surroundings import Surroundings
from collector.symbol_state import REST_LAG_MS
from linkora.backoff import Backoff
from linkora.errors import RejectedError, TransientError
from linkora.timeframes import MINUTE_MS

log = structlog.get_logger(__name__)

CHASE_INTERVAL_S = 1.0
POLLED_BOOK_INTERVAL_S = 2.0
# Who is refused is left alone for so long: it may be delisted, or a proxy in a mood.
REFUSED_FOR_S = 60.0


# Verification that failed is tried again after such waits, until the minute's own turn comes.
VERIFY_AGAIN_FIRST_S = 1.0
VERIFY_AGAIN_LONGEST_S = 15.0

# Asks for one symbol; returns whether the answer told all there was to learn.
Ask = Callable[[str], Awaitable[bool]]


class Reading:
    """The loops that ask the exchange for the newest minutes."""

    def __init__(
        self,
        live: LiveCandles,
        books: LiveBooks,
        *,
        exchange: Exchange,
        store: CandleStore,
        around: Surroundings,
        unheard: Callable[[], Iterable[str]],
    ) -> None:
        self._live = live
        self._books = books
        self._exchange = exchange
        self._store = store
        self._around = around
        self._unheard = unheard
        self._refused_until_s: dict[str, float] = {}

    async def chase_closes(self) -> None:
        """Ask for the minutes whose closing event has stayed away."""
        while True:
            await asyncio.sleep(CHASE_INTERVAL_S)
            await self._for_each(self._live.overdue(), self._chase)

    async def _chase(self, symbol: str) -> bool:
        span = self._live.overdue_minutes(symbol)
        if span is None:
            return True
        first_ms, last_ms = span
        asked_ms = self._around.clock.now_ms()
        # With the minute after the last one, whose presence proves that the last one is final.
        _, rows = await self._exchange.klines(symbol, start_ms=first_ms, end_ms=last_ms + MINUTE_MS)
        minutes = {row.minute_ms for row in rows if row.minute_ms <= last_ms}
        late = {minute for minute in minutes if not self._live.is_known(symbol, minute)}
        self._live.on_rows(symbol, rows, asked_ms=asked_ms, with_running=False)
        taken = sum(self._live.is_known(symbol, minute) for minute in late)
        self._around.metrics.closes_late.inc(taken)
        # An answer holds 1000 minutes; a longer absence is read in several turns.
        end_ms = min(last_ms + MINUTE_MS, first_ms + 1000 * MINUTE_MS)
        lacking = holes(MinuteRange(first_ms, end_ms), (row.open_time_ms for row in rows))
        settled_ms = self._around.clock.now_ms() - REST_LAG_MS
        gaps = [
            MinuteRange(gap.from_ms, min(gap.to_ms, settled_ms - settled_ms % MINUTE_MS))
            for gap in lacking
            if gap.from_ms + MINUTE_MS <= settled_ms
        ]
        if gaps:
            await self._store.note_gaps(
                symbol, gaps, retry_after_s=self._around.settings.gap_retry_s, reason=None
            )
            for gap in gaps:
                self._live.account_for(symbol, range(gap.from_ms, gap.to_ms, MINUTE_MS))
        return not lacking

    async def verify_closes(self) -> None:
        """Read the last minutes again after each close and each reconnect.

        Where the exchange does not answer, or its answer lags behind what the stream told, it is
        asked again soon: what a break has cost must not wait for the next minute.
        """
        again: list[str] = []
        while True:
            async with asyncio.TaskGroup() as group:
                asking_again = group.create_task(self._verify_again(again))
                is_turn = await self._is_turn()
                asking_again.cancel()  # it may wait behind the history's requests, for minutes
            wanted = [*dict.fromkeys([*self._live.take_unverified(), *again])]
            ask = partial(self._verify, is_background=False)
            again = await self._for_each(self._live.symbols if is_turn else wanted, ask)

    async def _is_turn(self) -> bool:
        """Wait until some symbols must be verified; return whether it is the turn of all."""
        try:
            async with asyncio.timeout(self._until_turn_s()):
                await self._live.unverified.wait()
        except TimeoutError:
            return True
        return False

    async def _verify_again(self, again: list[str]) -> None:
        """Verify these symbols until all have been; ``again`` always holds those that lack."""
        backoff = Backoff(VERIFY_AGAIN_FIRST_S, VERIFY_AGAIN_LONGEST_S)
        # Of the request weight this leaves the live candles their part.
        ask = partial(self._verify, is_background=True)
        while again:
            await asyncio.sleep(backoff.next_delay_s())
            again[:] = await self._for_each(list(again), ask)

    def _until_turn_s(self) -> float:
        """Return the seconds until all symbols are verified again, VERIFY_DELAY_S into a minute."""
        now_ms = self._around.clock.now_ms()
        next_ms = now_ms - now_ms % MINUTE_MS + int(self._around.settings.verify_delay_s * 1000)
        return ((next_ms - now_ms) % MINUTE_MS or MINUTE_MS) / 1000

    async def _verify(self, symbol: str, *, is_background: bool) -> bool:
        minute_ms = self._around.clock.minute_ms()
        start_ms = minute_ms - self._around.settings.verify_minutes * MINUTE_MS
        asked_ms = self._around.clock.now_ms()
        _, rows = await self._exchange.klines(
            symbol, start_ms=start_ms, is_background=is_background
        )
        return self._live.on_rows(symbol, rows, asked_ms=asked_ms, with_running=False)

    async def poll(self) -> None:
        """Ask for the running minutes of all symbols that no stream tells of."""
        while True:
            await asyncio.sleep(self._around.settings.realtime_interval)
            await self._for_each(list(self._unheard()), self._poll)

    async def _poll(self, symbol: str) -> bool:
        start_ms = self._around.clock.minute_ms() - MINUTE_MS
        asked_ms = self._around.clock.now_ms()
        _, rows = await self._exchange.klines(symbol, start_ms=start_ms)
        return self._live.on_rows(symbol, rows, asked_ms=asked_ms, with_running=True)

    async def poll_books(self) -> None:
        """Ask for the order books of all symbols that no stream tells of."""
        while True:
            interval_s = max(
                self._around.settings.orderbook_update_interval, POLLED_BOOK_INTERVAL_S
            )
            await asyncio.sleep(interval_s)
            await self._for_each(list(self._unheard()), self._poll_book)

    async def _poll_book(self, symbol: str) -> bool:
        depth = await self._exchange.depth(symbol, self._around.settings.orderbook_levels)
        self._books.on_depth(symbol, depth)
        return True

    async def _for_each(self, symbols: Sequence[str], ask: Ask) -> list[str]:
        """Ask for each symbol side by side.

        Returns:
            The symbols whose answers did not come or told too little; not those refused.
        """
        again: list[str] = []

        async def try_one(symbol: str) -> None:
            if time.monotonic() < self._refused_until_s.get(symbol, 0.0):
                return
            try:
                if not await ask(symbol):
                    again.append(symbol)
            except TransientError as error:
                again.append(symbol)
                self._around.lost("exchange", error)
                return
            except RejectedError as error:
                self._refused_until_s[symbol] = time.monotonic() + REFUSED_FOR_S
                log.warning("symbol_refused", symbol=symbol, reason=str(error))
                return
            self._around.found("exchange")

        async with asyncio.TaskGroup() as group:
            for symbol in symbols:
                group.create_task(try_one(symbol))
        return again
