# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""One-second candles, folded from trades where it is certain that none is missing. Pure.

The exchange numbers the trades of a symbol without holes, in order of time. So a second is whole
if a trade before it is known, one after it, and every number between them. What is not whole is
not told: neither the second in which the known trades begin, nor the ones around a hole. A second
without trades shows the last price, as the exchange's does.
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from linkora.market import Candle, flat_candle, with_trade
from linkora.messages import TradeMessage

SECOND_MS = 1_000
# What lies between two trades that are further apart is told from this many seconds on.
MAX_EMPTY = 1_000


class Seconds:
    """Folds the trades of one symbol.

    Attributes:
        running: The newest second so far, ``None`` until a whole one has begun.
    """

    def __init__(self, symbol: str) -> None:
        self.running: Candle | None = None
        self._symbol = symbol
        self._next_id: int | None = None
        self._time_ms = 0
        self._untold_ms = 0
        self._price = Decimal(0)

    def add(self, trade: TradeMessage) -> list[Candle]:
        """Take in the next trade; return the seconds that are whole by it, ascending.

        A trade that is known already changes nothing; after a hole it begins anew.
        """
        if self._next_id is not None and trade.id < self._next_id:
            return []
        second_ms = trade.timestamp - trade.timestamp % SECOND_MS
        if trade.id != self._next_id or trade.timestamp < self._time_ms:
            self.running = None
            self._untold_ms = second_ms + SECOND_MS
        self._next_id, self._time_ms = trade.id + 1, trade.timestamp
        price = Decimal(trade.price)
        closed: list[Candle] = []
        if second_ms >= self._untold_ms:
            closed = self._close_until(second_ms)
            self.running = self._flat(second_ms)
        if self.running is not None:
            self.running = with_trade(
                self.running, price, Decimal(trade.quantity), is_buyer_maker=trade.is_buyer_maker
            )
        self._price = price
        return closed

    def _close_until(self, second_ms: int) -> list[Candle]:
        known = [] if self.running is None else [self.running]
        first_ms = max(self._untold_ms, second_ms - MAX_EMPTY * SECOND_MS)
        known += [self._flat(open_ms) for open_ms in range(first_ms, second_ms, SECOND_MS)]
        self._untold_ms = second_ms + SECOND_MS
        return [msgspec.structs.replace(candle, is_closed=True) for candle in known]

    def _flat(self, open_ms: int) -> Candle:
        return flat_candle(self._symbol, open_ms, SECOND_MS, self._price)


def fold(symbol: str, trades: Iterable[TradeMessage]) -> list[Candle]:
    """Return the newest seconds without a hole among them, ascending; the last is running.

    Args:
        symbol: Whose trades they are.
        trades: In any order, some perhaps twice.
    """
    seconds = Seconds(symbol)
    known: list[Candle] = []
    for trade in sorted(trades, key=lambda trade: trade.id):
        known += seconds.add(trade)
        if seconds.running is None:
            known.clear()
    return known if seconds.running is None else [*known, seconds.running]
