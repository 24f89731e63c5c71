# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""``/ws``: which market data a client may follow, and what it is told first."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from linkora.dialog import Subscription
from linkora.errors import RequestError
from linkora.hub import Frame
from linkora.market import Candle
from linkora.sockets import encode
from linkora.timeframes import TIMEFRAMES, Timeframe
from marketdata import params
from marketdata.board import Board
from marketdata.topics import ALL, BookTopic, CandleTopic, TradeTopic
from marketdata.wire import book_frame, candle_frame, trades_frame

TYPES = ("candles", "orderbook", "trades")
FIRST_TRADES = 50
MAX_MISSED = 1000
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.5, 3600.0
# Intervals are rounded up to this, so that the followers of a topic fall into few groups.
_INTERVAL_STEP_MS = 500


class Store(Protocol):
    """What is read for a client that was away."""

    async def candles(
        self, symbol: str, frame: Timeframe, *, start_ms: int, limit: int
    ) -> list[Candle]:
        """Return the oldest ``limit`` candles from ``start_ms`` on, ascending."""


class MarketChannels:
    """What can be followed: ``candles``, ``orderbook`` and ``trades`` of one symbol or of all.

    Args:
        current: Returns the newest candle of a symbol and timeframe as a shared message.
        update_interval_s: How often an open candle is told where the client asks for nothing else.
    """

    def __init__(
        self,
        board: Board,
        store: Store,
        current: Callable[[str, Timeframe], Frame | None],
        update_interval_s: float,
    ) -> None:
        self._board = board
        self._store = store
        self._current = current
        self._update_interval_s = update_interval_s

    def from_url(self, query: Mapping[str, str]) -> Subscription | None:
        """Return what the URL asks for; ``?type=none`` opens a socket without a subscription."""
        if query.get("type") == "none":
            return None
        return self._subscription(query)

    def from_message(self, channel: dict[str, Any]) -> Subscription:
        """Return what a message asks for; unlike a URL's, its symbol must be known."""
        wanted = self._subscription(
            {name: _text(value) for name, value in channel.items() if value is not None}
        )
        symbol = wanted.channel["symbol"]
        if symbol != ALL and self._board.symbols and symbol not in self._board.symbols:
            raise RequestError(404, f"Unknown symbol: {symbol}")
        return wanted

    async def opening(self, subscription: Subscription) -> list[Frame]:
        """Return the closed candles since ``since_ms``, then the current state."""
        match subscription.topic:
            case CandleTopic(symbol=symbol, timeframe=name):
                frame = TIMEFRAMES[name]
                missed = await self._missed(symbol, frame, subscription.since_ms)
                names = self._board.ladders if symbol == ALL else [symbol]
                states = [self._current(each, frame) for each in names]
                return missed + [state for state in states if state is not None]
            case BookTopic(symbol=symbol, levels=levels):
                books = self._board.books
                names = list(books) if symbol == ALL else [symbol]
                return [book_frame(books[each], levels) for each in names if each in books]
            case TradeTopic(symbol=symbol):
                kept = self._board.trades
                names = list(kept) if symbol == ALL else [symbol]
                return [
                    trades_frame(each, list(kept[each])[-FIRST_TRADES:])
                    for each in names
                    if each in kept
                ]
            case _:
                return []

    async def _missed(self, symbol: str, frame: Timeframe, since_ms: int | None) -> list[Frame]:
        if since_ms is None:
            return []
        candles = await self._store.candles(
            symbol, frame, start_ms=frame.open_ms(since_ms), limit=MAX_MISSED + 1
        )
        if len(candles) > MAX_MISSED:
            problem = f"More than {MAX_MISSED} candles since then: read /candles first"
            return [encode({"type": "error", "error": problem})]
        return [candle_frame(candle, frame) for candle in candles if candle.is_closed]

    def _subscription(self, query: Mapping[str, str]) -> Subscription:
        kind = query.get("type", "candles")
        if kind not in TYPES:
            raise RequestError(400, f"Invalid type. Supported: {list(TYPES)}")
        symbol = _symbol(query)
        if kind == "orderbook":
            levels = params.levels(query)
            return Subscription(
                topic=BookTopic(symbol, levels),
                channel={"type": kind, "symbol": symbol, "levels": levels},
                interval_ms=_interval_ms(query, 0.0),
            )
        if kind == "trades":
            return Subscription(TradeTopic(symbol), {"type": kind, "symbol": symbol})
        frame = params.timeframe(query)
        since_ms = params.time_ms(query, "since")
        if since_ms is not None and symbol == ALL:
            raise RequestError(400, "since needs one symbol")
        return Subscription(
            topic=CandleTopic(symbol, frame.name),
            channel={"type": kind, "symbol": symbol, "timeframe": frame.name},
            interval_ms=_interval_ms(query, self._update_interval_s),
            since_ms=since_ms,
        )


def _symbol(query: Mapping[str, str]) -> str:
    name = query.get("symbol", "").strip() or ALL
    return ALL if name.lower() == ALL else params.known_form(name.upper())


def _interval_ms(query: Mapping[str, str], default_s: float) -> int:
    text = query.get("interval")
    if text is None:
        return int(default_s * 1000)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not MIN_INTERVAL_S <= seconds <= MAX_INTERVAL_S:
        raise RequestError(
            400, f"interval must be between {MIN_INTERVAL_S:g} and {MAX_INTERVAL_S:g} seconds"
        )
    return -(-int(seconds * 1000) // _INTERVAL_STEP_MS) * _INTERVAL_STEP_MS


def _text(value: Any) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise RequestError(400, "The fields of a channel are strings or numbers")
