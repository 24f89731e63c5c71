# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What Binance's streams say: candles, books and trades, told to who follows them."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from linkora.hub import Frame, Hub
from linkora.market import Candle, OrderBook
from linkora.messages import TradesMessage
from linkora.sockets import encode
from linkora.timeframes import Timeframe
from marketdata.binance_intervals import INTERVALS_OF, SECOND
from marketdata.binance_names import BOOK_PACES, StreamTopic, kline_name
from marketdata.binance_seconds import Seconds
from marketdata.binance_wire import (
    book_ticker,
    depth,
    depth_update,
    kline_event,
    trade_event,
)
from marketdata.board import Board
from marketdata.params import LEVELS


class BinanceAudience:
    """Tells candles, books and trades as Binance does."""

    def __init__(self, hub: Hub, board: Board) -> None:
        self._hub = hub
        self._board = board
        self._seconds: dict[str, Seconds] = {}

    def has_followers(self, symbol: str, frame: Timeframe) -> bool:
        """Return whether anyone follows these candles."""
        return any(
            self._followed(kline_name(symbol, interval))
            for interval in INTERVALS_OF.get(frame.name, ())
        )

    def tell_final(self, symbol: str, frame: Timeframe, candle: Candle) -> None:
        """Tell a kline that closed, or was closed and has been corrected."""
        for interval in INTERVALS_OF.get(frame.name, ()):
            self._tell_closed(kline_name(symbol, interval), candle, interval)

    def tell_state(self, symbol: str, frame: Timeframe) -> None:
        """Tell the running kline, every two seconds at most."""
        for interval in INTERVALS_OF.get(frame.name, ()):
            self._tell_running(
                kline_name(symbol, interval),
                interval,
                lambda: self._board.running(symbol, frame, _now_ms()),
            )

    def tell_book(self, book: OrderBook, before: OrderBook | None) -> None:
        """Tell a book, what changed in it, and its best prices."""
        symbol = book.symbol.lower()
        for levels in LEVELS:
            for pace in BOOK_PACES:
                self._tell_state(f"{symbol}@depth{levels}{pace}", partial(depth, book, levels))
        if book.bids and book.asks:
            self._tell_state(f"{symbol}@bookTicker", partial(book_ticker, book))
        if before is not None and before.last_update_id < book.last_update_id:
            for pace in BOOK_PACES:
                for topic in self._followed(f"{symbol}@depth{pace}"):
                    payload = depth_update(book, before, _now_ms())
                    self._hub.publish_final(topic, wrapped(topic, payload))

    def tell_trades(self, message: TradesMessage) -> None:
        """Tell each trade by itself, and the seconds that they make up."""
        for kind in ("aggTrade", "trade"):
            for topic in self._followed(f"{message.symbol.lower()}@{kind}"):
                for trade in message.trades:
                    payload = trade_event(kind, message.symbol, trade, _now_ms())
                    self._hub.publish_final(topic, wrapped(topic, payload))
        self._tell_seconds(message)

    def _tell_seconds(self, message: TradesMessage) -> None:
        name = kline_name(message.symbol, SECOND)
        if not self._followed(name):
            self._seconds.pop(message.symbol, None)
            return
        seconds = self._seconds.get(message.symbol)
        if seconds is None:
            seconds = self._seconds[message.symbol] = Seconds(message.symbol)
            for trade in self._board.trades.get(message.symbol, ()):
                if trade.id < message.trades[0].id:
                    seconds.add(trade)
        for trade in message.trades:
            for candle in seconds.add(trade):
                self._tell_closed(name, candle, SECOND)
        self._tell_running(name, SECOND, lambda: seconds.running)

    def _tell_closed(self, name: str, candle: Candle, interval: str) -> None:
        for topic in self._followed(name):
            payload = kline_event(candle, interval, _now_ms())
            self._hub.publish_final(topic, wrapped(topic, payload))

    def _tell_running(self, name: str, interval: str, running: Callable[[], Candle | None]) -> None:
        for topic in self._followed(name):

            def newest(topic: StreamTopic = topic) -> Frame | None:
                candle = running()
                if candle is None:
                    return None
                return wrapped(topic, kline_event(candle, interval, _now_ms()))

            self._hub.publish_state(topic, name, newest, _monotonic_ms())

    def _tell_state(self, name: str, payload: Callable[[], dict[str, Any]]) -> None:
        for topic in self._followed(name):
            frame = wrapped(topic, payload())
            self._hub.publish_state(topic, name, lambda told=frame: told, _monotonic_ms())  # type: ignore[misc]

    def _followed(self, name: str) -> list[StreamTopic]:
        topics = (StreamTopic(name, is_combined=False), StreamTopic(name, is_combined=True))
        return [topic for topic in topics if self._hub.has_followers(topic)]


def wrapped(topic: StreamTopic, payload: Any) -> Frame:
    """Return a payload in the form that the topic's followers asked for."""
    return encode({"stream": topic.name, "data": payload} if topic.is_combined else payload)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
