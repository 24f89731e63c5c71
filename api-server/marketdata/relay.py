# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""From Redis to the board and the audiences: what is published becomes what clients are told.

Messages are applied as they come. Whenever some may have been missed - at the start, after a
reconnection, a hole in ``seq``, another ``epoch``, a change too old for the board - the symbols
concerned are read from the database again, while the messages that arrive meanwhile are kept and
applied once more afterwards.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter
from redis.asyncio import Redis

from linkora import channels
from linkora.backoff import Backoff
from linkora.errors import CorruptMessage, TransientError
from linkora.hub import Hub
from linkora.market import Candle, OrderBook
from linkora.messages import (
    Position,
    TradesMessage,
    decode_candle,
    decode_order_book,
    decode_trades,
)
from linkora.pubsub import Subscribed, listen
from linkora.timeframes import TIMEFRAMES, Timeframe
from marketdata.aggregation import Changes, Ladder, Stale, horizon
from marketdata.binance_intervals import WIDER
from marketdata.board import Board

log = structlog.get_logger(__name__)

FLUSH_INTERVAL_S = 0.1
# While the collector loads history it announces changes page by page: read them in batches.
REREAD_INTERVAL_S = 2.0
START_GRACE_S = 1.0
MAX_MISSED = 1000
# What is told: the timeframes that have tables, and four that only Binance's dialect knows.
FRAMES = (*TIMEFRAMES.values(), *WIDER.values())


class Store(Protocol):
    """What the relay reads. Every method raises ``TransientError`` while the database is away."""

    async def newest_minutes(self) -> dict[str, int]:
        """Return each symbol's newest one-minute candle's open time, Unix ms."""

    async def candles(
        self, symbol: str, frame: Timeframe, *, start_ms: int, limit: int
    ) -> list[Candle]:
        """Return the oldest ``limit`` candles from ``start_ms`` on, ascending."""

    async def newest_books(self) -> list[OrderBook]:
        """Return each symbol's newest order book."""


class Audience(Protocol):
    """Clients of one dialect. The methods return at once."""

    def has_followers(self, symbol: str, frame: Timeframe) -> bool:
        """Return whether anyone follows these candles."""

    def tell_final(self, symbol: str, frame: Timeframe, candle: Candle) -> None:
        """Tell a candle that closed, or was closed and has been corrected."""

    def tell_state(self, symbol: str, frame: Timeframe) -> None:
        """Tell that the board knows a new state of the running candle."""

    def tell_book(self, book: OrderBook, before: OrderBook | None) -> None:
        """Tell an order book; ``before`` is the one that was told last."""

    def tell_trades(self, message: TradesMessage) -> None:
        """Tell new trades."""


class Metrics:
    """What the relay counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "relay_messages", "Messages read from Redis", ["kind"], registry=registry
        )
        self.holes = Counter(
            "relay_holes", "Times that messages may have been missed", ["kind"], registry=registry
        )
        self.rereads = Counter(
            "relay_symbol_rereads", "Symbols read from the database again", registry=registry
        )
        self.corrupt = Counter(
            "relay_corrupt_messages", "Messages that could not be decoded", registry=registry
        )


class Numbers:
    """Follows one channel's ``seq``, for each ``epoch``: several collectors may publish on it."""

    def __init__(self) -> None:
        self.last: Position | None = None
        self._seq_of_epoch: dict[int, int] = {}

    def restart(self) -> None:
        """Forget everything: what comes next is the first."""
        self.last = None
        self._seq_of_epoch.clear()

    def is_next(self, position: Position) -> bool:
        """Note ``position``; return whether nothing is missing before it."""
        is_first = self.last is None
        last_seq = self._seq_of_epoch.get(position.epoch)
        self.last = position
        self._seq_of_epoch[position.epoch] = position.seq
        return is_first if last_seq is None else position.seq == last_seq + 1


class Relay:
    """Keeps ``board`` and tells the audiences.

    Args:
        redis: Where the news come from.
        store: Where everything can be read again.
        board: What is kept up to date.
        hub: Holds back the audiences' states until their intervals are over.
        audiences: Who is told.
        registry: Where the counters go.
        on_redis: Told the error whenever Redis is away, ``None`` once the subscription stands.
        on_reread: Told the error when the database could not be read, ``None`` once all is read.
    """

    def __init__(
        self,
        redis: Redis,
        store: Store,
        board: Board,
        hub: Hub,
        audiences: Sequence[Audience],
        *,
        registry: CollectorRegistry,
        on_redis: Callable[[TransientError | None], None],
        on_reread: Callable[[TransientError | None], None],
    ) -> None:
        self._redis = redis
        self._store = store
        self._board = board
        self._hub = hub
        self._audiences = audiences
        self._metrics = Metrics(registry)
        self._on_redis = on_redis
        self._on_reread = on_reread
        self._candle_numbers = Numbers()
        self._stale: set[str] = set()
        self._is_all_stale = True
        self._wake = asyncio.Event()
        self._since_reread: dict[tuple[str, int], Candle] = {}
        self._corrected: dict[str, set[int]] = {}

    def position(self) -> dict[str, int]:
        """Return ``seq`` and ``epoch`` of the last candle message, for the heartbeat."""
        last = self._candle_numbers.last
        return {"seq": last.seq, "epoch": last.epoch} if last else {}

    async def relay_candles(self) -> None:
        """Read the candles' channel, for ever."""
        async for item in listen(
            self._redis, [channels.CANDLES_ALL], on_error=self._lost_subscription
        ):
            if isinstance(item, Subscribed):
                self._board.is_connected = True
                self._on_redis(None)
                self._candle_numbers.restart()
                self._reread_all()
                continue
            try:
                candle, position = decode_candle(item)
            except CorruptMessage as error:
                self._count_corrupt(error)
                continue
            self._metrics.messages.labels("candle").inc()
            if not self._candle_numbers.is_next(position):
                self._metrics.holes.labels("candle").inc()
                self._reread_all()
            self._take(candle)

    async def relay_books(self) -> None:
        """Read the order books' channel, for ever."""
        async for item in listen(self._redis, [channels.ORDERBOOK_ALL], on_error=lambda _: None):
            if isinstance(item, Subscribed):
                continue
            try:
                book, _ = decode_order_book(item)
            except CorruptMessage as error:
                self._count_corrupt(error)
                continue
            self._metrics.messages.labels("orderbook").inc()
            self._take_book(book)

    async def relay_trades(self) -> None:
        """Read the trades' channel, for ever."""
        async for item in listen(self._redis, [channels.TRADES_ALL], on_error=lambda _: None):
            if isinstance(item, Subscribed):
                continue
            try:
                message = decode_trades(item)
            except CorruptMessage as error:
                self._count_corrupt(error)
                continue
            self._metrics.messages.labels("trades").inc()
            self._board.take_trades(message)
            for audience in self._audiences:
                audience.tell_trades(message)

    async def reread(self) -> None:
        """Read from the database what may be stale, for ever."""
        backoff = Backoff()
        with suppress(TimeoutError):  # without Redis, too, the newest stored state is served
            await asyncio.wait_for(self._wake.wait(), START_GRACE_S)
        self._wake.set()
        while True:
            await self._wake.wait()
            try:
                await self._reread_stale()
            except TransientError as error:
                self._on_reread(error)
                await asyncio.sleep(backoff.next_delay_s(error.retry_after_s))
            else:
                if self._board.is_connected:
                    self._on_reread(None)
                backoff.reset()
                await asyncio.sleep(REREAD_INTERVAL_S)

    async def keep_time(self) -> None:
        """Tell what is due by the clock: conflated states and buckets that just ended."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            for symbol, frame, candle in self._board.tick(_now_ms()):
                self._tell_final(symbol, frame, candle)
            self._hub.flush(_monotonic_ms())

    # Taking in

    def _take(self, minute: Candle) -> None:
        if self._wake.is_set():
            self._since_reread[minute.symbol, minute.open_time_ms] = minute
        result = self._board.apply(minute, _now_ms())
        if isinstance(result, Changes):
            self._tell(minute.symbol, result)
            return
        if minute.symbol in self._board.ladders:
            self._corrected.setdefault(minute.symbol, set()).add(minute.open_time_ms)
        self._mark(minute.symbol)

    def _take_book(self, book: OrderBook) -> None:
        known = self._board.books.get(book.symbol)
        if known is not None and book.timestamp_ms < known.timestamp_ms:
            return
        self._board.books[book.symbol] = book
        for audience in self._audiences:
            audience.tell_book(book, known)

    # Telling

    def _tell(self, symbol: str, changes: Changes) -> None:
        for frame, candle in changes.finals:
            self._tell_final(symbol, frame, candle)
        self._tell_states(symbol, changes.states)

    def _tell_final(self, symbol: str, frame: Timeframe, candle: Candle) -> None:
        for audience in self._audiences:
            audience.tell_final(symbol, frame, candle)

    def _tell_states(self, symbol: str, frames: Iterable[Timeframe]) -> None:
        for frame in frames:
            for audience in self._audiences:
                audience.tell_state(symbol, frame)

    def _is_followed(self, symbol: str, frame: Timeframe) -> bool:
        return any(audience.has_followers(symbol, frame) for audience in self._audiences)

    # Reading again

    def _reread_all(self) -> None:
        self._is_all_stale = True
        self._board.live.clear()
        self._wake.set()

    def _mark(self, symbol: str) -> None:
        self._stale.add(symbol)
        self._board.live.discard(symbol)
        self._wake.set()

    async def _reread_stale(self) -> None:
        is_all, self._is_all_stale = self._is_all_stale, False
        wanted, self._stale = self._stale, set()
        corrected, self._corrected = self._corrected, {}
        try:
            newest = await self._store.newest_minutes()
            if is_all:
                self._board.symbols = sorted({*self._board.symbols, *newest})
                await self._read_books()
            for symbol in newest if is_all else wanted & newest.keys():
                await self._read_symbol(symbol, newest[symbol])
                await self._tell_corrections(symbol, corrected.pop(symbol, set()))
        except BaseException:
            self._is_all_stale |= is_all
            self._stale |= wanted
            for symbol, minutes in corrected.items():
                self._corrected.setdefault(symbol, set()).update(minutes)
            raise
        if not self._is_all_stale and not self._stale:
            self._wake.clear()
            self._since_reread.clear()

    async def _read_books(self) -> None:
        for book in await self._store.newest_books():
            known = self._board.books.get(book.symbol)
            if known is None or known.timestamp_ms < book.timestamp_ms:
                self._take_book(book)

    async def _read_symbol(self, symbol: str, newest_ms: int) -> None:
        self._metrics.rereads.inc()
        wanted = horizon(newest_ms)
        read = self._store.candles
        minutes = await read(symbol, TIMEFRAMES["1"], start_ms=wanted.minutes_ms, limit=MAX_MISSED)
        hours = await read(symbol, TIMEFRAMES["1H"], start_ms=wanted.hours_ms, limit=MAX_MISSED)
        days = await read(symbol, TIMEFRAMES["1D"], start_ms=wanted.days_ms, limit=MAX_MISSED)
        old = self._board.ladders.get(symbol)
        missed = await self._read_missed(symbol, old) if old is not None else []
        self._board.seed(symbol, Ladder(minutes, hours, days, FRAMES))
        for (name, _), minute in sorted(self._since_reread.items()):
            if name == symbol:
                result = self._board.apply(minute, _now_ms())
                if isinstance(result, Stale):
                    self._mark(symbol)
        if self._board.is_connected and not self._is_all_stale and symbol not in self._stale:
            self._board.live.add(symbol)
        for frame, candle in missed:
            self._tell_final(symbol, frame, candle)
        self._tell_states(symbol, FRAMES)

    async def _read_missed(self, symbol: str, old: Ladder) -> list[tuple[Timeframe, Candle]]:
        """Return the closed candles that followers may not have been told of."""
        missed: list[tuple[Timeframe, Candle]] = []
        for frame in TIMEFRAMES.values():
            if not self._is_followed(symbol, frame):
                continue
            start_ms = frame.open_ms(old.newest_ms)
            known = old.candle(frame, start_ms, _now_ms())
            missed += [
                (frame, candle)
                for candle in await self._store.candles(
                    symbol, frame, start_ms=start_ms, limit=MAX_MISSED
                )
                if candle.is_closed and candle != known
            ]
        return missed

    async def _tell_corrections(self, symbol: str, minutes: set[int]) -> None:
        """Tell the closed buckets that hold ``minutes``, which are too old for the board."""
        if not minutes:
            return
        for frame in TIMEFRAMES.values():
            if self._is_followed(symbol, frame):
                opens = {frame.open_ms(minute) for minute in minutes}
                for candle in await self._store.candles(
                    symbol, frame, start_ms=min(opens), limit=MAX_MISSED
                ):
                    if candle.open_time_ms in opens and candle.is_closed:
                        self._tell_final(symbol, frame, candle)

    def _lost_subscription(self, error: TransientError) -> None:
        self._board.is_connected = False
        self._board.live.clear()
        self._on_redis(error)
        self._on_reread(error)

    def _count_corrupt(self, error: CorruptMessage) -> None:
        self._metrics.corrupt.inc()
        log.warning("message_was_corrupt", reason=str(error))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
