# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Tells on Redis what has happened; each message to the channel of all and to the symbol's own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import msgspec
from redis.asyncio import Redis

from collector.surroundings import Surroundings
from linkora import channels
from linkora.errors import TransientError
from linkora.market import Candle, OrderBook, Trade
from linkora.messages import (
    Position,
    encode_candle,
    encode_order_book,
    encode_trades,
    trade_message,
)
from linkora.pubsub import Publisher, transient_errors

TRADES_KEPT = 1_000
TRADES_KEPT_S = 24 * 3600
_encode = msgspec.json.encode
Encode = Callable[[Position], bytes]


class News:
    """Publishes candles and books.

    A failure is counted, not retried: the database has it all, and the number that the lost
    message took tells the readers to look there.
    """

    def __init__(self, redis: Redis, around: Surroundings) -> None:
        self._redis = redis
        # Closes wait for no books or trades.
        self._candles, self._books, self._trades = (Publisher(redis) for _ in range(3))
        self._around = around

    async def candles(self, candles: Iterable[Candle]) -> None:
        """Publish candles in order."""
        await self._publish(
            self._candles,
            (
                (channel, partial(encode_candle, candle))
                for candle in candles
                for channel in (channels.CANDLES_ALL, channels.candles(candle.symbol))
            ),
        )

    async def books(self, books: Iterable[OrderBook]) -> None:
        """Publish order books."""
        await self._publish(
            self._books,
            (
                (channel, partial(encode_order_book, book))
                for book in books
                for channel in (channels.ORDERBOOK_ALL, channels.orderbook(book.symbol))
            ),
        )

    async def trades(self, trades: Mapping[str, Sequence[Trade]]) -> None:
        """Publish the new trades of each symbol, oldest first, and keep the newest ones."""
        await self._publish(
            self._trades,
            (
                (channel, partial(encode_trades, symbol, told))
                for symbol, told in trades.items()
                for channel in (channels.TRADES_ALL, channels.trades(symbol))
            ),
        )
        try:
            with transient_errors():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for symbol, told in trades.items():
                        key = channels.recent_trades_key(symbol)
                        pipe.lpush(key, *(_encode(trade_message(trade)) for trade in told))
                        pipe.ltrim(key, 0, TRADES_KEPT - 1)
                        pipe.expire(key, TRADES_KEPT_S)
                    await pipe.execute()
        except TransientError as error:
            self._around.lost("redis", error)

    def history_changed(self, symbol: str) -> None:
        """Make the readers of candles read the database again, with the next message.

        Stored history is not told minute by minute: a number left out says that something is
        there which was not told.
        """
        self._candles.skip(channels.CANDLES_ALL)
        self._candles.skip(channels.candles(symbol))

    async def _publish(self, publisher: Publisher, messages: Iterable[tuple[str, Encode]]) -> None:
        listed = list(messages)
        if not listed:
            return
        try:
            await publisher.publish(listed)
        except TransientError as error:
            self._around.metrics.publish_failures.inc(len(listed))
            self._around.lost("redis", error)
        else:
            self._around.found("redis")
