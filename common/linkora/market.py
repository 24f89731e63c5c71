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


def flat_candle(symbol: str, open_ms: int, width_ms: int, price: Decimal) -> Candle:
    """Return a running candle without trades, which shows ``price`` as the last close."""
    zero = Decimal(0)
    return Candle(
        symbol=symbol,
        open_time_ms=open_ms,
        close_time_ms=open_ms + width_ms - 1,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=zero,
        quote_volume=zero,
        trades=0,
        taker_buy_volume=zero,
        taker_buy_quote_volume=zero,
        is_closed=False,
    )


def with_trade(
    candle: Candle, price: Decimal, quantity: Decimal, *, is_buyer_maker: bool
) -> Candle:
    """Return ``candle`` with one more trade in it, as the exchange counts it."""
    is_first = candle.trades == 0  # until then its prices are the last close before it
    taken = Decimal(0) if is_buyer_maker else quantity
    return msgspec.structs.replace(
        candle,
        open=price if is_first else candle.open,
        high=price if is_first else max(candle.high, price),
        low=price if is_first else min(candle.low, price),
        close=price,
        volume=candle.volume + quantity,
        quote_volume=candle.quote_volume + price * quantity,
        trades=candle.trades + 1,
        taker_buy_volume=candle.taker_buy_volume + taken,
        taker_buy_quote_volume=candle.taker_buy_quote_volume + price * taken,
    )
