# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the market says: candles and order books, as values."""

from decimal import Decimal
from typing import NamedTuple

import msgspec


class Candle(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state of one candle so far (exchange word: kline).

    Attributes:
        open_time_ms: Open time on the grid of its timeframe, Unix ms, UTC.
        close_time_ms: Last millisecond it covers; earlier than the grid's in an outage.
        volume: Traded amount of the base asset; ``quote_volume`` of the quote asset.
        taker_buy_volume: The part of ``volume`` whose taker was the buyer.
        is_closed: True when the exchange has said its last word on it.
        revision: 0 at the close, one more for each correction by the exchange.
    """

    symbol: str
    open_time_ms: int
    close_time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    is_closed: bool
    revision: int = 0


class Level(NamedTuple):
    """One price of an order book and the amount of the base asset that waits there."""

    price: Decimal
    quantity: Decimal


class OrderBook(msgspec.Struct, frozen=True, kw_only=True):
    """The best levels of both sides: bids from high to low, asks from low to high.

    Attributes:
        timestamp_ms: When this state was valid, Unix ms, UTC.
        last_update_id: The exchange's number of the last update in it.
    """

    symbol: str
    timestamp_ms: int
    last_update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One trade on the exchange.

    Attributes:
        id: The exchange's number; dense for each symbol.
        time_ms: Unix ms, UTC.
        is_buyer_maker: True if the taker sold.
    """

    symbol: str
    id: int
    price: Decimal
    quantity: Decimal
    time_ms: int
    is_buyer_maker: bool
