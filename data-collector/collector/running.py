# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The running minute of one symbol, exact to the trade.

The exchange's kline events are the authority, but come every two seconds; the trades between two
of them are folded on top. Trade numbers are dense, so a missing trade shows: from then on the
kline alone speaks, until the next one has caught up.
"""

from collections import deque

from linkora.market import Candle, Trade, flat_candle, with_trade
from linkora.timeframes import MINUTE_MS, floor_minute_ms

MAX_TAIL_TRADES = 20_000


class RunningCandle:
    """Folds kline events and trades of one symbol into the state of its newest minute."""

    def __init__(self) -> None:
        self._candle: Candle | None = None
        self._kline: Candle | None = None
        self._closed_until_ms = 0
        # Trades that no kline has included yet, without a hole among them.
        self._tail: deque[Trade] = deque()
        # The number after the newest trade; None before the first one is known.
        self._next_id: int | None = None
        # Whether the tail follows the last kline without a hole, so that it may be folded.
        self._is_anchored = False

    @property
    def candle(self) -> Candle | None:
        """The newest minute so far, never closed; ``None`` before anything was heard."""
        return self._candle

    def apply_kline(self, candle: Candle, last_trade_id: int | None) -> None:
        """Take over the exchange's own state of a minute.

        Args:
            candle: The minute as the exchange tells it, running or closed.
            last_trade_id: Number of the last trade in it, -1 if it has none; ``None`` if the
                source does not tell (REST), which ends the folding until one does.
        """
        if candle.is_closed:
            self._closed_until_ms = max(self._closed_until_ms, candle.open_time_ms + MINUTE_MS)
        if self._candle is not None and candle.open_time_ms < self._candle.open_time_ms:
            return
        if not candle.is_closed and self._is_outdated(candle, last_trade_id):
            return
        self._kline = candle
        if last_trade_id is None:
            self._tail.clear()
            self._is_anchored = False
        elif last_trade_id >= 0:
            self._anchor(last_trade_id)
        self._candle = None if candle.is_closed else candle
        if self._is_anchored:
            for trade in self._tail:
                self._fold(trade)

    def apply_trade(self, trade: Trade) -> None:
        """Add one trade, unless it is known already or others before it are missing."""
        if self._next_id is not None and trade.id < self._next_id:
            return
        if trade.id != self._next_id or len(self._tail) >= MAX_TAIL_TRADES:
            self._tail.clear()
            self._is_anchored = False
        self._next_id = trade.id + 1
        self._tail.append(trade)
        if self._is_anchored:
            self._fold(trade)

    def _is_outdated(self, candle: Candle, last_trade_id: int | None) -> bool:
        """Return whether a later state of that minute is known (two sources may overlap)."""
        if candle.open_time_ms < self._closed_until_ms:
            return True
        known = self._candle if last_trade_id is None else self._kline
        is_same_minute = known is not None and known.open_time_ms == candle.open_time_ms
        return is_same_minute and known is not None and candle.trades < known.trades

    def _anchor(self, last_trade_id: int) -> None:
        """Drop the trades that the kline includes, and see whether the rest follows it."""
        while self._tail and self._tail[0].id <= last_trade_id:
            self._tail.popleft()
        if self._tail:
            self._is_anchored = self._tail[0].id == last_trade_id + 1
        else:
            # A row of REST has swept trades away that this kline, an older one, lacks.
            self._is_anchored = (self._next_id or 0) <= last_trade_id + 1
            self._next_id = max(self._next_id or 0, last_trade_id + 1)

    def _fold(self, trade: Trade) -> None:
        minute_ms = floor_minute_ms(trade.time_ms)
        candle = self._candle
        if candle is None or minute_ms > candle.open_time_ms:
            if minute_ms >= self._closed_until_ms:
                self._candle = _first(trade, minute_ms)
        elif minute_ms == candle.open_time_ms:
            self._candle = _added(candle, trade)


def _first(trade: Trade, minute_ms: int) -> Candle:
    return _added(flat_candle(trade.symbol, minute_ms, MINUTE_MS, trade.price), trade)


def _added(candle: Candle, trade: Trade) -> Candle:
    return with_trade(candle, trade.price, trade.quantity, is_buyer_maker=trade.is_buyer_maker)
