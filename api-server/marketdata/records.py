# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Records of the database as candles and order books. Pure."""

from typing import Any

import msgspec

from linkora.market import Candle, Level, OrderBook

_levels = msgspec.json.Decoder(tuple[Level, ...])


def candle_of(symbol: str, record: Any) -> Candle:
    """Return a record of a candle's columns as a candle."""
    return Candle(
        symbol=symbol,
        open_time_ms=record["open_ms"],
        close_time_ms=record["close_ms"],
        open=record["open_price"],
        high=record["high_price"],
        low=record["low_price"],
        close=record["close_price"],
        volume=record["volume"],
        quote_volume=record["quote_volume"],
        trades=record["trades"],
        taker_buy_volume=record["taker_buy_volume"],
        taker_buy_quote_volume=record["taker_buy_quote_volume"],
        is_closed=record["is_closed"],
        revision=record["revision"],
    )


def book_of(symbol: str, record: Any) -> OrderBook:
    """Return a record of the newest order book as a book."""
    timestamp_ms, last_update_id, bids, asks = record
    return OrderBook(
        symbol=symbol,
        timestamp_ms=timestamp_ms,
        last_update_id=last_update_id,
        bids=_levels.decode(bids),
        asks=_levels.decode(asks),
    )
