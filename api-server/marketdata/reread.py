# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Reading the database again where news may have been missed, and telling what was.

At the start, after a reconnection, a hole in ``seq`` or a change too old for the board, the symbols
concerned are read again, while the messages that arrive meanwhile are kept and applied once more
afterwards. Followers are told every closed candle that changed unheard, however old it is.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter

from linkora.backoff import Backoff
from linkora.errors import TransientError
from linkora.market import Candle, OrderBook
from linkora.timeframes import TIMEFRAMES, Timeframe
from marketdata import missed, unheard
from marketdata.aggregation import Ladder, Stale, horizon
from marketdata.audience import FRAMES, Audiences
from marketdata.board import Board
from marketdata.missed import Final, Missed
from marketdata.unheard import Unheard

# While the collector loads history it announces changes page by page: read them in batches.
REREAD_INTERVAL_S = 2.0
START_GRACE_S = 1.0
# However long the database was away: live data are live again so soon after its return.
LONGEST_RETRY_S = 3.0
MAX_ROWS = 1000
# What is heard, each kind by a subscription of its own; the names of the relay's metrics.
CANDLES, BOOKS, TRADES = "candle", "orderbook", "trades"


class Store(unheard.Store, missed.Store, Protocol):
    """What is read. Every method raises ``TransientError`` while the database is away."""

    async def newest_minutes(self) -> dict[str, int]:
        """Return each symbol's newest one-minute candle's open time, Unix ms."""

    async def candles(
        self, symbol: str, frame: Timeframe, *, start_ms: int, limit: int
    ) -> list[Candle]:
        """Return the oldest ``limit`` candles from ``start_ms`` on, ascending."""

    async def newest_books(self) -> list[OrderBook]:
        """Return each symbol's newest order book."""


class Rereader:
    """Knows what may be stale, and reads it.

    Attributes:
        lost: The kinds of news that are not heard at the moment.

    Args:
        store: Where everything can be read again.
        board: What is brought up to date.
        audiences: Who is told what was missed.
        registry: Where the counter goes.
        on_reread: Told the error when the database could not be read, ``None`` once all is read.
    """

    def __init__(
        self,
        store: Store,
        board: Board,
        audiences: Audiences,
        *,
        registry: CollectorRegistry,
        on_reread: Callable[[TransientError | None], None],
    ) -> None:
        self._store = store
        self._board = board
        self._audiences = audiences
        self._on_reread = on_reread
        self._rereads = Counter(
            "relay_symbol_rereads", "Symbols read from the database again", registry=registry
        )
        self._unheard = Unheard(store)
        self._missed = Missed(store, board)
        self._stale: set[str] = set()
        self._is_all_stale = True
        self._are_books_stale = True
        self.lost = {CANDLES, BOOKS, TRADES}
        self._all_heard = asyncio.Event()
        self._wake = asyncio.Event()
        self._since_reread: dict[tuple[str, int], Candle] = {}
        self._corrected: dict[str, set[int]] = {}

    def hear(self, minute: Candle) -> None:
        """Note a minute that was heard, before it is applied."""
        if self._wake.is_set():
            self._since_reread[minute.symbol, minute.open_time_ms] = minute
        if minute.symbol in self._board.live:
            self._unheard.hear(minute.symbol, time.monotonic())

    def mark(self, minute: Candle) -> None:
        """Note that ``minute`` is too old for the board."""
        if minute.symbol in self._board.ladders:
            self._corrected.setdefault(minute.symbol, set()).add(minute.open_time_ms)
        self._mark(minute.symbol)

    def mark_all(self) -> None:
        """Note that messages of any symbol may have been missed."""
        self._is_all_stale = True
        self._board.live.clear()
        self._wake.set()

    def mark_books(self) -> None:
        """Note that order books of any symbol may have been missed."""
        self._are_books_stale = True
        self._board.are_books_live = False
        self._wake.set()

    def find(self, kind: str) -> None:
        """Note that news of ``kind`` are heard from now on; until now they may not have been."""
        self.lost.discard(kind)
        if not self.lost:
            self._all_heard.set()
        if kind == CANDLES:
            self._board.is_connected = True
            self.mark_all()
        elif kind == BOOKS:
            self.mark_books()
        else:
            self._wake.set()

    def lose(self, kind: str, error: TransientError) -> None:
        """Note that news of ``kind`` are not heard any more."""
        self.lost.add(kind)
        if kind == CANDLES:
            self._board.is_connected = False
            self._board.live.clear()
        elif kind == BOOKS:
            self._board.are_books_live = False
        self._on_reread(error)

    async def keep(self) -> None:
        """Read what may be stale, for ever."""
        backoff = Backoff(longest_s=LONGEST_RETRY_S)
        with suppress(TimeoutError):  # without Redis, too, the newest stored state is served
            async with asyncio.timeout(START_GRACE_S):
                await self._all_heard.wait()
        self._wake.set()
        while True:
            await self._wake.wait()
            try:
                await self._read_stale()
            except TransientError as error:
                self._on_reread(error)
                await asyncio.sleep(backoff.next_delay_s(error.retry_after_s))
            else:
                if not (self.lost or self._is_all_stale or self._are_books_stale):
                    self._on_reread(None)
                backoff.reset()
                await asyncio.sleep(REREAD_INTERVAL_S)

    def _mark(self, symbol: str) -> None:
        self._stale.add(symbol)
        self._board.live.discard(symbol)
        self._wake.set()

    async def _read_stale(self) -> None:
        if self._are_books_stale:
            await self._read_books()
        if self._is_all_stale or self._stale:
            await self._read_candles()
        if not (self._is_all_stale or self._stale or self._are_books_stale):
            self._wake.clear()
            self._since_reread.clear()

    async def _read_candles(self) -> None:
        is_all, self._is_all_stale = self._is_all_stale, False
        wanted, self._stale = self._stale, set()
        corrected, self._corrected = self._corrected, {}
        try:
            newest = await self._store.newest_minutes()
            if is_all:
                self._board.symbols = sorted({*self._board.symbols, *newest})
            for symbol in newest if is_all else wanted & newest.keys():
                await self._read_symbol(symbol, newest[symbol], corrected.get(symbol, set()))
                corrected.pop(symbol, None)
        except BaseException:
            self._is_all_stale |= is_all
            self._stale |= wanted
            for symbol, minutes in corrected.items():
                self._corrected.setdefault(symbol, set()).update(minutes)
            raise

    async def _read_books(self) -> None:
        """Read every symbol's newest book; what is heard meanwhile is newer and stays."""
        self._are_books_stale = False
        try:
            books = await self._store.newest_books()
        except BaseException:
            self._are_books_stale = True
            raise
        for book in books:
            known = self._board.books.get(book.symbol)
            if book != known and self._board.take_book(book):
                self._audiences.tell_book(book, known)
        self._board.are_books_live = BOOKS not in self.lost and not self._are_books_stale

    async def _read_symbol(self, symbol: str, newest_ms: int, corrected: set[int]) -> None:
        self._rereads.inc()
        began_s = time.monotonic()
        frames = self._audiences.followed(symbol)
        ladder = await self._read_ladder(symbol, newest_ms)
        # After the ladder: whatever it holds already, a look must be able to find.
        look = await self._unheard.look(symbol, time.monotonic(), is_followed=bool(frames))
        untold: list[Final] = []
        for frame in frames:
            untold += await self._missed.finals(symbol, frame, look.minutes, corrected)
        self._unheard.settle(symbol, look, began_s)
        self._seed(symbol, ladder)
        for frame, candle in untold:
            self._audiences.tell_final(symbol, frame, candle)
        self._audiences.tell_states(symbol)

    async def _read_ladder(self, symbol: str, newest_ms: int) -> Ladder:
        wanted = horizon(newest_ms)
        read = self._store.candles
        minutes = await read(symbol, TIMEFRAMES["1"], start_ms=wanted.minutes_ms, limit=MAX_ROWS)
        hours = await read(symbol, TIMEFRAMES["1H"], start_ms=wanted.hours_ms, limit=MAX_ROWS)
        days = await read(symbol, TIMEFRAMES["1D"], start_ms=wanted.days_ms, limit=MAX_ROWS)
        return Ladder(minutes, hours, days, FRAMES)

    def _seed(self, symbol: str, ladder: Ladder) -> None:
        self._board.seed(symbol, ladder)
        for (name, _), minute in sorted(self._since_reread.items()):
            if name == symbol and isinstance(self._board.apply(minute, _now_ms()), Stale):
                self._mark(symbol)
        if self._board.is_connected and not self._is_all_stale and symbol not in self._stale:
            self._board.live.add(symbol)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
