# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The exchange's JSON, written fast: numbers are exact decimal strings with eight decimals.

Whole pages go through one `%` of one long template, which is several times faster than encoding
row by row.
"""

from functools import lru_cache

import numpy as np

from simulator.book import Book, BookChange
from simulator.klines import Column
from simulator.randomness import Int64s
from simulator.symbols import Symbol
from simulator.trades import Trades

DECIMALS = 8
MICROSECONDS = 1_000
_JSON_ROW = '[%d,"<p>","<p>","<p>","<p>","<q>",%d,"<u>",%d,"<q>","<u>","0"]'
_CSV_ROW = "%d,<p>,<p>,<p>,<p>,<q>,%d,<u>,%d,<q>,<u>,0\n"
_LEVEL = '["<p>","<q>"]'


def decimal_text(value: int, decimals: int) -> str:
    """Return ``value / 10**decimals`` with eight decimals, exactly."""
    whole, rest = divmod(value, 10**decimals)
    return f"{whole}.{rest * 10 ** (DECIMALS - decimals):08d}"


def _decimal_template(decimals: int) -> str:
    """Return a template for two integers: the whole part, and the rest in units of the last one."""
    return "%d." + (f"%0{decimals}d" if decimals else "%.0s") + "0" * (DECIMALS - decimals)


@lru_cache(maxsize=256)
def _rows_template(symbol: Symbol, layout: str, separator: str, count: int) -> str:
    """Return the template of ``count`` rows; p, q and u stand for price, quantity, quote amount."""
    decimals = {"p": symbol.price_decimals, "q": symbol.lot_decimals, "u": symbol.quote_decimals}
    row = layout
    for name, places in decimals.items():
        row = row.replace(f"<{name}>", _decimal_template(places))
    return separator.join([row] * count)


def _fill(template: str, columns: list[Int64s]) -> str:
    return template % tuple(np.column_stack(columns).ravel().tolist())


def _split(values: Int64s, decimals: int) -> list[Int64s]:
    whole = values // 10**decimals
    return [whole, values - whole * 10**decimals]


def kline_rows(symbol: Symbol, klines: Int64s, *, in_microseconds: bool = False) -> str:
    """Return the JSON array of a ``/api/v3/klines`` answer."""
    return "[" + _kline_text(symbol, klines, _JSON_ROW, ",", in_microseconds) + "]"


def kline_csv(symbol: Symbol, klines: Int64s, *, in_microseconds: bool) -> str:
    """Return the CSV of an archive file: the twelve fields, no header."""
    return _kline_text(symbol, klines, _CSV_ROW, "", in_microseconds)


def _kline_text(
    symbol: Symbol, klines: Int64s, layout: str, separator: str, in_microseconds: bool
) -> str:
    if not len(klines):
        return ""
    open_ms, close_ms = klines[:, Column.OPEN_MS], klines[:, Column.CLOSE_MS]
    if in_microseconds:
        open_ms, close_ms = open_ms * MICROSECONDS, close_ms * MICROSECONDS + 999
    price, lot, quote = symbol.price_decimals, symbol.lot_decimals, symbol.quote_decimals
    columns = [open_ms]
    for column in (Column.OPEN, Column.HIGH, Column.LOW, Column.CLOSE):
        columns += _split(klines[:, column], price)
    columns += _split(klines[:, Column.VOLUME], lot)
    columns.append(close_ms)
    columns += _split(klines[:, Column.QUOTE_VOLUME], quote)
    columns.append(klines[:, Column.COUNT])
    columns += _split(klines[:, Column.TAKER_BASE], lot)
    columns += _split(klines[:, Column.TAKER_QUOTE], quote)
    return _fill(_rows_template(symbol, layout, separator, len(klines)), columns)


def level_rows(symbol: Symbol, levels: Int64s) -> str:
    """Return the JSON array of book levels, ``[["price","quantity"],…]``.

    Args:
        symbol: Their symbol.
        levels: Two columns, ticks and lots.
    """
    if not len(levels):
        return "[]"
    columns = _split(levels[:, 0], symbol.price_decimals) + _split(
        levels[:, 1], symbol.lot_decimals
    )
    return "[" + _fill(_rows_template(symbol, _LEVEL, ",", len(levels)), columns) + "]"


def _flag(value: object) -> str:
    return "true" if value else "false"


def kline_event(
    symbol: Symbol,
    interval: str,
    kline: Int64s,
    event_ms: int,
    *,
    is_closed: bool,
    scale: int = 1,
) -> str:
    """Return the payload of a ``kline_<interval>`` stream."""
    row = kline.tolist()
    price, lot, quote = symbol.price_decimals, symbol.lot_decimals, symbol.quote_decimals
    prices = [
        decimal_text(row[c], price) for c in (Column.OPEN, Column.CLOSE, Column.HIGH, Column.LOW)
    ]
    return (
        f'{{"e":"kline","E":{event_ms * scale},"s":"{symbol.name}",'
        f'"k":{{"t":{row[Column.OPEN_MS] * scale},"T":{(row[Column.CLOSE_MS] + 1) * scale - 1},'
        f'"s":"{symbol.name}","i":"{interval}",'
        f'"f":{row[Column.FIRST_ID]},"L":{row[Column.LAST_ID]},'
        f'"o":"{prices[0]}","c":"{prices[1]}","h":"{prices[2]}","l":"{prices[3]}",'
        f'"v":"{decimal_text(row[Column.VOLUME], lot)}","n":{row[Column.COUNT]},'
        f'"x":{_flag(is_closed)},"q":"{decimal_text(row[Column.QUOTE_VOLUME], quote)}",'
        f'"V":"{decimal_text(row[Column.TAKER_BASE], lot)}",'
        f'"Q":"{decimal_text(row[Column.TAKER_QUOTE], quote)}","B":"0"}}}}'
    )


def aggregate_trade_rows(symbol: Symbol, trades: Trades, *, in_microseconds: bool = False) -> str:
    """Return the JSON array of an ``/api/v3/aggTrades`` answer."""
    scale = MICROSECONDS if in_microseconds else 1
    price, lot = symbol.price_decimals, symbol.lot_decimals
    rows = [
        f'{{"a":{i},"p":"{decimal_text(p, price)}","q":"{decimal_text(q, lot)}","f":{i},"l":{i},'
        f'"T":{t * scale},"m":{_flag(m)},"M":true}}'
        for i, t, p, q, m in _trade_fields(trades)
    ]
    return "[" + ",".join(rows) + "]"


def trade_rows(symbol: Symbol, trades: Trades, *, in_microseconds: bool = False) -> str:
    """Return the JSON array of an ``/api/v3/trades`` answer."""
    scale = MICROSECONDS if in_microseconds else 1
    price, lot, quote = symbol.price_decimals, symbol.lot_decimals, symbol.quote_decimals
    rows = [
        f'{{"id":{i},"price":"{decimal_text(p, price)}","qty":"{decimal_text(q, lot)}",'
        f'"quoteQty":"{decimal_text(p * q, quote)}","time":{t * scale},'
        f'"isBuyerMaker":{_flag(m)},"isBestMatch":true}}'
        for i, t, p, q, m in _trade_fields(trades)
    ]
    return "[" + ",".join(rows) + "]"


def trade_events(symbol: Symbol, trades: Trades, event_ms: int, scale: int = 1) -> list[str]:
    """Return the payloads of a ``trade`` stream."""
    price, lot = symbol.price_decimals, symbol.lot_decimals
    return [
        f'{{"e":"trade","E":{event_ms * scale},"s":"{symbol.name}","t":{i},'
        f'"p":"{decimal_text(p, price)}","q":"{decimal_text(q, lot)}","T":{t * scale},'
        f'"m":{_flag(m)},"M":true}}'
        for i, t, p, q, m in _trade_fields(trades)
    ]


def aggregate_trade_events(
    symbol: Symbol, trades: Trades, event_ms: int, scale: int = 1
) -> list[str]:
    """Return the payloads of an ``aggTrade`` stream; every trade is its own aggregate."""
    price, lot = symbol.price_decimals, symbol.lot_decimals
    return [
        f'{{"e":"aggTrade","E":{event_ms * scale},"s":"{symbol.name}","a":{i},'
        f'"p":"{decimal_text(p, price)}","q":"{decimal_text(q, lot)}","f":{i},"l":{i},'
        f'"T":{t * scale},"m":{_flag(m)},"M":true}}'
        for i, t, p, q, m in _trade_fields(trades)
    ]


def partial_book(symbol: Symbol, book: Book) -> str:
    """Return the payload of a ``depth<levels>`` stream."""
    return (
        f'{{"lastUpdateId":{book.update_id},"bids":{level_rows(symbol, book.bids)},'
        f'"asks":{level_rows(symbol, book.asks)}}}'
    )


def diff_event(symbol: Symbol, change: BookChange, scale: int = 1) -> str:
    """Return the payload of a ``depth`` stream."""
    return (
        f'{{"e":"depthUpdate","E":{change.time_ms * scale},"s":"{symbol.name}",'
        f'"U":{change.first_id},"u":{change.last_id},'
        f'"b":{level_rows(symbol, change.bids)},"a":{level_rows(symbol, change.asks)}}}'
    )


def book_ticker(symbol: Symbol, top: Book) -> str:
    """Return the payload of a ``bookTicker`` stream for a book of depth one."""
    price, lot = symbol.price_decimals, symbol.lot_decimals
    (bid, bid_lots), (ask, ask_lots) = top.bids[0].tolist(), top.asks[0].tolist()
    return (
        f'{{"u":{top.update_id},"s":"{symbol.name}",'
        f'"b":"{decimal_text(bid, price)}","B":"{decimal_text(bid_lots, lot)}",'
        f'"a":"{decimal_text(ask, price)}","A":"{decimal_text(ask_lots, lot)}"}}'
    )


def _trade_fields(trades: Trades) -> "zip[tuple[int, int, int, int, bool]]":
    return zip(
        trades.ids.tolist(),
        trades.times_ms.tolist(),
        trades.prices.tolist(),
        trades.lots.tolist(),
        trades.is_buyer_maker.tolist(),
        strict=True,
    )
