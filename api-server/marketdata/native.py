# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The audience of ``/ws``: tells candles, books and trades in our own messages."""

import time
from functools import partial

from linkora.hub import Frame, Hub
from linkora.market import Candle, OrderBook
from linkora.messages import TradesMessage
from linkora.timeframes import TIMEFRAMES, Timeframe
from marketdata.board import Board
from marketdata.params import LEVELS
from marketdata.topics import ALL, BookTopic, CandleTopic, TradeTopic
from marketdata.wire import book_frame, candle_frame, trades_frame


class NativeAudience:
    """Encodes each message once for everybody who follows it."""

    def __init__(self, hub: Hub, board: Board) -> None:
        self._hub = hub
        self._board = board
        self._frames: dict[CandleTopic, tuple[int, Frame]] = {}

    def has_followers(self, symbol: str, frame: Timeframe) -> bool:
        """Return whether anyone follows these candles."""
        return bool(self._followed(symbol, frame))

    def tell_final(self, symbol: str, frame: Timeframe, candle: Candle) -> None:
        """Tell a candle that closed, or was closed and has been corrected."""
        topics = self._followed(symbol, frame)
        if topics:
            message = candle_frame(candle, frame)
            for topic in topics:
                self._hub.publish_final(topic, message)

    def tell_state(self, symbol: str, frame: Timeframe) -> None:
        """Tell the running candle, each follower at the interval that it asked for."""
        for topic in self._followed(symbol, frame):
            key = CandleTopic(symbol, frame.name)
            source = partial(self.current, symbol, frame)
            self._hub.publish_state(topic, key, source, _monotonic_ms())

    def tell_book(self, book: OrderBook, before: OrderBook | None) -> None:
        """Tell an order book with as many levels as each follower asked for."""
        for levels in LEVELS:
            key = BookTopic(book.symbol, levels)
            topics = [t for t in (key, BookTopic(ALL, levels)) if self._hub.has_followers(t)]
            if topics:
                message = book_frame(book, levels)
                for topic in topics:
                    self._hub.publish_state(topic, key, partial(_same, message), _monotonic_ms())

    def tell_trades(self, message: TradesMessage) -> None:
        """Tell new trades."""
        topics = (TradeTopic(message.symbol), TradeTopic(ALL))
        followed = [topic for topic in topics if self._hub.has_followers(topic)]
        if followed:
            frame = trades_frame(message.symbol, message.trades)
            for topic in followed:
                self._hub.publish_final(topic, frame)

    def current(self, symbol: str, frame: Timeframe) -> Frame | None:
        """Return the newest candle as a message, encoded once for as long as it stays the same."""
        key = CandleTopic(symbol, frame.name)
        version = self._board.version(symbol)
        known = self._frames.get(key)
        if known is not None and known[0] == version:
            return known[1]
        candle = self._board.running(symbol, frame, time.time_ns() // 1_000_000)
        if candle is None:
            return None
        message = candle_frame(candle, frame)
        self._frames[key] = (version, message)
        return message

    def _followed(self, symbol: str, frame: Timeframe) -> list[CandleTopic]:
        if frame.name not in TIMEFRAMES:
            return []
        topics = (CandleTopic(symbol, frame.name), CandleTopic(ALL, frame.name))
        return [topic for topic in topics if self._hub.has_followers(topic)]


def _same(frame: Frame) -> Frame:
    return frame


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
