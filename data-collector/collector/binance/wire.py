# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What Binance spot tells, decoded once into values."""

import re
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from collector.binance.forms import (
    Depth,
    DiffEvent,
    Envelope,
    ErrorAnswer,
    ExchangeInfo,
    KlineEvent,
    KlineRow,
    ServerTime,
    TradeEvent,
)
from linkora.decimals import PLAIN_NUMBER
from linkora.errors import CorruptMessage
from linkora.market import Candle, Level, OrderBook
from linkora.timeframes import floor_minute_ms

_NUMBER = re.compile(PLAIN_NUMBER)

T = TypeVar("T")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {
    form: msgspec.json.Decoder(form)
    for form in (
        list[KlineRow], KlineEvent, TradeEvent, DiffEvent, Depth, Envelope, ErrorAnswer,
        ExchangeInfo, ServerTime,
    )
}  # fmt: skip


def decode(form: type[T], payload: bytes | str | msgspec.Raw) -> T:
    """Return ``payload`` as a value of ``form``.

    Raises:
        CorruptMessage: If it does not have that form.
    """
    try:
        value: T = _decoders[form].decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        shown = bytes(payload[:120]) if isinstance(payload, bytes) else str(payload)[:120]
        raise CorruptMessage(f"{error}: {shown!r}") from error
    return value


def decode_klines(payload: bytes) -> list[KlineRow]:
    """Return the rows of a klines answer, checked: ascending opens and plain numbers.

    Raises:
        CorruptMessage: If the answer is not a klines answer, or cannot be true.
    """
    rows = decode(list[KlineRow], payload)
    last_open_ms = -1
    for row in rows:
        if row.open_time_ms <= last_open_ms or row.close_time_ms < row.open_time_ms:
            raise CorruptMessage(f"klines out of order at {row.open_time_ms}")
        last_open_ms = row.open_time_ms
    return rows


def number(text: str) -> Decimal:
    """Return the number that the exchange wrote, exactly.

    Raises:
        CorruptMessage: If it is not a plain decimal number that is not negative.
    """
    if not _NUMBER.fullmatch(text):
        raise CorruptMessage(f"not a number: {text[:60]!r}")
    return Decimal(text)


def candle_of_row(symbol: str, row: KlineRow, *, is_closed: bool) -> Candle:
    """Return the candle of a REST row, its open on the minute grid."""
    return Candle(
        symbol=symbol,
        open_time_ms=row.minute_ms,
        close_time_ms=row.close_time_ms,
        open=number(row.open),
        high=number(row.high),
        low=number(row.low),
        close=number(row.close),
        volume=number(row.volume),
        quote_volume=number(row.quote_volume),
        trades=row.trades,
        taker_buy_volume=number(row.taker_buy_volume),
        taker_buy_quote_volume=number(row.taker_buy_quote_volume),
        is_closed=is_closed,
    )


def candle_of_event(event: KlineEvent) -> Candle:
    """Return the candle of a stream event, its open on the minute grid."""
    kline = event.k
    return Candle(
        symbol=event.s,
        open_time_ms=floor_minute_ms(kline.t),
        close_time_ms=kline.T,
        open=number(kline.o),
        high=number(kline.h),
        low=number(kline.l),
        close=number(kline.c),
        volume=number(kline.v),
        quote_volume=number(kline.q),
        trades=kline.n,
        taker_buy_volume=number(kline.V),
        taker_buy_quote_volume=number(kline.Q),
        is_closed=kline.x,
    )


def book_of_depth(symbol: str, depth: Depth, *, timestamp_ms: int, levels: int) -> OrderBook:
    """Return the best ``levels`` of a snapshot or of a partial-depth message."""
    return OrderBook(
        symbol=symbol,
        timestamp_ms=timestamp_ms,
        last_update_id=depth.lastUpdateId,
        bids=tuple(Level(number(p), number(q)) for p, q in depth.bids[:levels]),
        asks=tuple(Level(number(p), number(q)) for p, q in depth.asks[:levels]),
    )
