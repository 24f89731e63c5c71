# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""From Redis to the board and the audiences: what is published becomes what clients are told.

Messages are applied as they come; where some may have been missed, ``Rereader`` is told.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial

import structlog
from prometheus_client import CollectorRegistry, Counter
from redis.asyncio import Redis

from linkora import channels
from linkora.errors import CorruptMessage, TransientError
from linkora.hub import Hub
from linkora.messages import decode_candle, decode_order_book, decode_trades
from linkora.pubsub import Subscribed, listen
from marketdata.aggregation import Changes
from marketdata.audience import Audiences
from marketdata.board import Board
from marketdata.reread import BOOKS, CANDLES, TRADES, Rereader
from marketdata.sequence import Numbers

log = structlog.get_logger(__name__)

FLUSH_INTERVAL_S = 0.1


class Metrics:
    """What the relay counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "relay_messages", "Messages read from Redis", ["kind"], registry=registry
        )
        self.holes = Counter(
            "relay_holes", "Times that messages may have been missed", ["kind"], registry=registry
        )
        self.corrupt = Counter(
            "relay_corrupt_messages", "Messages that could not be decoded", registry=registry
        )


class Relay:
    """Keeps ``board`` and tells the audiences.

    Args:
        redis: Where the news come from.
        rereader: Told where news may have been missed.
        board: What is kept up to date.
        hub: Holds back the audiences' states until their intervals are over.
        audiences: Who is told.
        registry: Where the counters go.
        on_redis: Told the error whenever Redis is away, ``None`` once all subscriptions stand.
    """

    def __init__(
        self,
        redis: Redis,
        rereader: Rereader,
        board: Board,
        hub: Hub,
        audiences: Audiences,
        *,
        registry: CollectorRegistry,
        on_redis: Callable[[TransientError | None], None],
    ) -> None:
        self._redis = redis
        self._rereader = rereader
        self._board = board
        self._hub = hub
        self._audiences = audiences
        self._metrics = Metrics(registry)
        self._on_redis = on_redis
        self._candle_numbers = Numbers()
        self._book_numbers = Numbers()

    def position(self) -> dict[str, int]:
        """Return ``seq`` and ``epoch`` of the last candle message, for the heartbeat."""
        last = self._candle_numbers.last
        return {"seq": last.seq, "epoch": last.epoch} if last else {}

    async def relay_candles(self) -> None:
        """Read the candles' channel, for ever."""
        await self._relay(CANDLES, channels.CANDLES_ALL, self._take_candle)

    async def relay_books(self) -> None:
        """Read the order books' channel, for ever."""
        await self._relay(BOOKS, channels.ORDERBOOK_ALL, self._take_book)

    async def relay_trades(self) -> None:
        """Read the trades' channel, for ever."""
        await self._relay(TRADES, channels.TRADES_ALL, self._take_trades)

    async def _relay(self, kind: str, channel: str, take: Callable[[bytes], None]) -> None:
        """Read a channel on a connection of its own: each may be lost without the others."""
        async for item in listen(self._redis, [channel], on_error=partial(self._lose, kind)):
            if isinstance(item, Subscribed):
                self._rereader.find(kind)
                if not self._rereader.lost:
                    self._on_redis(None)
                continue
            try:
                take(item)
            except CorruptMessage as error:
                self._metrics.corrupt.inc()
                log.warning("message_was_corrupt", kind=kind, reason=str(error))
            else:
                self._metrics.messages.labels(kind).inc()

    async def keep_time(self) -> None:
        """Tell what is due by the clock: conflated states and buckets that just ended."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            for symbol, frame, candle in self._board.tick(time.time_ns() // 1_000_000):
                self._audiences.tell_final(symbol, frame, candle)
            self._hub.flush(time.monotonic_ns() // 1_000_000)

    def _take_candle(self, payload: bytes) -> None:
        minute, position = decode_candle(payload)
        if not self._candle_numbers.is_next(position):
            self._metrics.holes.labels(CANDLES).inc()
            self._rereader.mark_all()
        self._rereader.hear(minute)
        result = self._board.apply(minute, time.time_ns() // 1_000_000)
        if isinstance(result, Changes):
            self._audiences.tell(minute.symbol, result)
        else:
            self._rereader.mark(minute)

    def _take_book(self, payload: bytes) -> None:
        book, position = decode_order_book(payload)
        if not self._book_numbers.is_next(position):
            self._metrics.holes.labels(BOOKS).inc()
            self._rereader.mark_books()
        known = self._board.books.get(book.symbol)
        if self._board.take_book(book):
            self._audiences.tell_book(book, known)

    def _take_trades(self, payload: bytes) -> None:
        message = decode_trades(payload)
        self._board.take_trades(message)
        self._audiences.tell_trades(message)

    def _lose(self, kind: str, error: TransientError) -> None:
        self._on_redis(error)
        self._rereader.lose(kind, error)
