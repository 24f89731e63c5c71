# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What clients are sent: candles and books as REST rows and as WebSocket messages. Pure.

Every number that is a price or an amount is a string with at least 8 decimals. Field names are
those that existing clients read; fields are only ever added.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from linkora.decimals import plain
from linkora.hub import Frame
from linkora.market import Candle, OrderBook
from linkora.messages import LevelMessage, TradeMessage, level_messages
from linkora.timeframes import MINUTE_MS, Timeframe

HUNDRED = Decimal(100)
_encoder = msgspec.json.Encoder()


class CandleRow(msgspec.Struct, frozen=True):
    """One element of ``/candles``: ``timestamp`` is the open time in Unix ms, UTC."""

    timestamp: int
    open_time: str
    close_time: str
    open_price: str
    high_price: str
    low_price: str
    close_price: str
    volume: str
    quote_volume: str
    trades: int
    taker_buy_volume: str
    taker_buy_quote_volume: str
    is_closed: bool


class StreamCandle(msgspec.Struct, frozen=True):
    """A candle over the WebSocket: the whole state so far; replace, never add."""

    channel: str
    symbol: str
    timeframe: str
    timestamp: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trades: int
    taker_buy_volume: str
    taker_buy_quote_volume: str
    is_closed: bool


class Book(msgspec.Struct, frozen=True, omit_defaults=True):
    """``/orderbook``, and an order book over the WebSocket (with ``channel``)."""

    symbol: str
    timestamp: int
    last_update_id: int
    bids: list[LevelMessage]
    asks: list[LevelMessage]
    channel: str = ""


def iso(time_ms: int) -> str:
    """Return Unix ms as JavaScript's ``toISOString`` writes it: ``2024-01-31T12:00:00.000Z``."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def candle_row(candle: Candle) -> bytes:
    """Return the candle as one element of ``/candles``."""
    return _encoder.encode(
        CandleRow(
            timestamp=candle.open_time_ms,
            open_time=iso(candle.open_time_ms),
            close_time=iso(candle.close_time_ms),
            open_price=plain(candle.open),
            high_price=plain(candle.high),
            low_price=plain(candle.low),
            close_price=plain(candle.close),
            volume=plain(candle.volume),
            quote_volume=plain(candle.quote_volume),
            trades=candle.trades,
            taker_buy_volume=plain(candle.taker_buy_volume),
            taker_buy_quote_volume=plain(candle.taker_buy_quote_volume),
            is_closed=candle.is_closed,
        )
    )


def candle_frame(candle: Candle, frame: Timeframe) -> Frame:
    """Return the candle as a WebSocket message."""
    return Frame(
        _encoder.encode(
            StreamCandle(
                channel="candles",
                symbol=candle.symbol,
                timeframe=frame.name,
                timestamp=candle.open_time_ms,
                open=plain(candle.open),
                high=plain(candle.high),
                low=plain(candle.low),
                close=plain(candle.close),
                volume=plain(candle.volume),
                quote_volume=plain(candle.quote_volume),
                trades=candle.trades,
                taker_buy_volume=plain(candle.taker_buy_volume),
                taker_buy_quote_volume=plain(candle.taker_buy_quote_volume),
                is_closed=candle.is_closed,
            )
        )
    )


def book_body(book: OrderBook, levels: int) -> bytes:
    """Return the answer of ``/orderbook`` with the best ``levels`` of each side."""
    return _encoder.encode(_book(book, levels))


def book_frame(book: OrderBook, levels: int) -> Frame:
    """Return the book as a WebSocket message."""
    message = msgspec.structs.replace(_book(book, levels), channel="orderbook")
    return Frame(_encoder.encode(message))


def trades_frame(symbol: str, trades: Iterable[TradeMessage]) -> Frame:
    """Return trades, the oldest first, as a WebSocket message."""
    return Frame(_encoder.encode({"channel": "trades", "symbol": symbol, "trades": list(trades)}))


def gap_body(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return one entry of the ledger: minutes from ``start`` until before ``end``."""
    return {
        "symbol": record["symbol"],
        "start": iso(record["from_ms"]),
        "end": iso(record["to_ms"]),
        "start_timestamp": record["from_ms"],
        "end_timestamp": record["to_ms"],
        "minutes": (record["to_ms"] - record["from_ms"]) // MINUTE_MS,
        "state": record["state"],
        "reason": record["reason"],
        "attempts": record["attempts"],
        "updated_at": iso(record["updated_ms"]),
    }


def price_body(pair: list[Candle], frame: Timeframe) -> dict[str, Any]:
    """Return the body of ``/price``.

    Args:
        pair: The newest candle, last, and the one before it if there is one.
        frame: Their timeframe.
    """
    current = pair[-1]
    previous_price = pair[0].close
    change = current.close - previous_price
    percent = change / previous_price * HUNDRED if previous_price else Decimal(0)
    return {
        "symbol": current.symbol,
        "timeframe": frame.name,
        "current_price": plain(current.close),
        "previous_price": plain(previous_price),
        "change_absolute": plain(change),
        "change_percent": format(percent.quantize(Decimal("0.01")) + 0, "f"),
        "trend": "up" if change > 0 else "down" if change < 0 else "neutral",
        "timestamp": current.open_time_ms,
        "open_time": iso(current.open_time_ms),
        "volume": plain(current.volume),
    }


def _book(book: OrderBook, levels: int) -> Book:
    return Book(
        symbol=book.symbol,
        timestamp=book.timestamp_ms,
        last_update_id=book.last_update_id,
        bids=level_messages(book.bids[:levels]),
        asks=level_messages(book.asks[:levels]),
    )
