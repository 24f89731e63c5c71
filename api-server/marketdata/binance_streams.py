# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What Binance's streams say: candles, books and trades, told to who follows them."""

import time
from typing import Any

from linkora.hub import Frame, Hub
from linkora.market import Candle, OrderBook
from linkora.messages import TradesMessage
from linkora.sockets import encode
from linkora.timeframes import Timeframe
from marketdata.binance_intervals import INTERVAL_OF
from marketdata.binance_names import StreamTopic
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

    def has_followers(self, symbol: str, frame: Timeframe) -> bool:
        """Return whether anyone follows these candles."""
        interval = INTERVAL_OF.get(frame.name)
        return interval is not None and bool(self._followed(_kline(symbol, interval)))

    def tell_final(self, symbol: str, frame: Timeframe, candle: Candle) -> None:
        """Tell a kline that closed, or was closed and has been corrected."""
        interval = INTERVAL_OF.get(frame.name)
        if interval is not None:
            name = _kline(symbol, interval)
            for topic in self._followed(name):
                payload = kline_event(candle, interval, _now_ms())
                self._hub.publish_final(topic, _wrapped(topic, payload))

    def tell_state(self, symbol: str, frame: Timeframe) -> None:
        """Tell the running kline, every two seconds at most."""
        interval = INTERVAL_OF.get(frame.name)
        if interval is None:
            return
        name = _kline(symbol, interval)
        for topic in self._followed(name):

            def newest(topic: StreamTopic = topic) -> Frame | None:
                candle = self._board.running(symbol, frame, _now_ms())
                if candle is None:
                    return None
                return _wrapped(topic, kline_event(candle, interval, _now_ms()))

            self._hub.publish_state(topic, name, newest, _monotonic_ms())

    def tell_book(self, book: OrderBook, before: OrderBook | None) -> None:
        """Tell a book, what changed in it, and its best prices."""
        symbol = book.symbol.lower()
        for levels in LEVELS:
            for suffix in ("", "@100ms"):
                self._tell_state(f"{symbol}@depth{levels}{suffix}", depth(book, levels))
        if book.bids and book.asks:
            self._tell_state(f"{symbol}@bookTicker", book_ticker(book))
        if before is not None and before.last_update_id < book.last_update_id:
            for suffix in ("", "@100ms"):
                name = f"{symbol}@depth{suffix}"
                for topic in self._followed(name):
                    payload = depth_update(book, before, _now_ms())
                    self._hub.publish_final(topic, _wrapped(topic, payload))

    def tell_trades(self, message: TradesMessage) -> None:
        """Tell each trade by itself."""
        for kind in ("aggTrade", "trade"):
            for topic in self._followed(f"{message.symbol.lower()}@{kind}"):
                for trade in message.trades:
                    payload = trade_event(kind, message.symbol, trade, _now_ms())
                    self._hub.publish_final(topic, _wrapped(topic, payload))

    def _tell_state(self, name: str, payload: dict[str, Any]) -> None:
        for topic in self._followed(name):
            frame = _wrapped(topic, payload)
            self._hub.publish_state(topic, name, lambda told=frame: told, _monotonic_ms())  # type: ignore[misc]

    def _followed(self, name: str) -> list[StreamTopic]:
        topics = (StreamTopic(name, is_combined=False), StreamTopic(name, is_combined=True))
        return [topic for topic in topics if self._hub.has_followers(topic)]


def _kline(symbol: str, interval: str) -> str:
    return f"{symbol.lower()}@kline_{interval}"


def _wrapped(topic: StreamTopic, payload: dict[str, Any]) -> Frame:
    return encode({"stream": topic.name, "data": payload} if topic.is_combined else payload)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
