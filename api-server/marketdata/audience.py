# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Who is told what the board learns: the clients of each dialect."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from linkora.market import Candle, OrderBook
from linkora.messages import TradesMessage
from linkora.timeframes import TIMEFRAMES, Timeframe
from marketdata.aggregation import Changes
from marketdata.binance_intervals import WIDER, ZONED

# What is told: the timeframes that have tables, and what only Binance's dialect knows: four more
# widths, and three on the grid of another time zone.
FRAMES = (*TIMEFRAMES.values(), *WIDER.values(), *ZONED.values())


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


class Audiences:
    """All of them."""

    def __init__(self, audiences: Sequence[Audience]) -> None:
        self._audiences = tuple(audiences)

    def followed(self, symbol: str) -> list[Timeframe]:
        """Return the timeframes of ``symbol`` that anyone follows."""
        return [
            frame
            for frame in FRAMES
            if any(audience.has_followers(symbol, frame) for audience in self._audiences)
        ]

    def tell(self, symbol: str, changes: Changes) -> None:
        """Tell what one minute did."""
        for frame, candle in changes.finals:
            self.tell_final(symbol, frame, candle)
        self.tell_states(symbol, changes.states)

    def tell_final(self, symbol: str, frame: Timeframe, candle: Candle) -> None:
        """Tell a candle that closed, or was closed and has been corrected."""
        for audience in self._audiences:
            audience.tell_final(symbol, frame, candle)

    def tell_states(self, symbol: str, frames: Iterable[Timeframe] = FRAMES) -> None:
        """Tell that the board knows new states of the running candles."""
        for frame in frames:
            for audience in self._audiences:
                audience.tell_state(symbol, frame)

    def tell_book(self, book: OrderBook, before: OrderBook | None) -> None:
        """Tell an order book; ``before`` is the one that was told last."""
        for audience in self._audiences:
            audience.tell_book(book, before)

    def tell_trades(self, message: TradesMessage) -> None:
        """Tell new trades."""
        for audience in self._audiences:
            audience.tell_trades(message)
