# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Binance's 24-hour tickers: what the newest day of one symbol adds up to. Pure."""

from decimal import Decimal
from typing import Any

import msgspec

from linkora.decimals import plain
from linkora.market import OrderBook
from marketdata.binance_wire import book_ticker


class Day(msgspec.Struct, frozen=True):
    """What the newest 24 hours of one symbol add up to; times in Unix ms."""

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    open_ms: int
    close_ms: int
    close_before: Decimal | None = None


def day_ticker(day: Day, book: OrderBook | None, *, is_mini: bool) -> dict[str, Any]:
    """Return an element of ``ticker/24hr``."""
    mini = {
        "symbol": day.symbol,
        "openPrice": plain(day.open),
        "highPrice": plain(day.high),
        "lowPrice": plain(day.low),
        "lastPrice": plain(day.close),
        "volume": plain(day.volume),
        "quoteVolume": plain(day.quote_volume),
        "openTime": day.open_ms,
        "closeTime": day.close_ms,
        "firstId": -1,
        "lastId": -1,
        "count": day.trades,
    }
    if is_mini:
        return mini
    change = day.close - day.open
    percent = change / day.open * 100 if day.open else Decimal(0)
    average = day.quote_volume / day.volume if day.volume else day.close
    best = book_ticker(book) if book is not None and book.bids and book.asks else {}
    return {
        **mini,
        "priceChange": plain(change),
        "priceChangePercent": f"{percent:.3f}",
        "weightedAvgPrice": f"{average:.8f}",
        "prevClosePrice": plain(day.open if day.close_before is None else day.close_before),
        "lastQty": plain(Decimal(0)),
        "bidPrice": best.get("b", plain(Decimal(0))),
        "bidQty": best.get("B", plain(Decimal(0))),
        "askPrice": best.get("a", plain(Decimal(0))),
        "askQty": best.get("A", plain(Decimal(0))),
    }


_EVENT_FIELDS = {
    "s": "symbol", "p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice",
    "x": "prevClosePrice", "c": "lastPrice", "Q": "lastQty", "b": "bidPrice", "B": "bidQty",
    "a": "askPrice", "A": "askQty", "o": "openPrice", "h": "highPrice", "l": "lowPrice",
    "v": "volume", "q": "quoteVolume", "O": "openTime", "C": "closeTime", "F": "firstId",
    "L": "lastId", "n": "count",
}  # fmt: skip
_MINI_FIELDS = {name: _EVENT_FIELDS[name] for name in "scohlvq"}


def ticker_event(day: Day, book: OrderBook | None, *, is_mini: bool) -> dict[str, Any]:
    """Return the payload of ``@ticker`` or ``@miniTicker``, without the time of the event."""
    values = day_ticker(day, book, is_mini=is_mini)
    fields = _MINI_FIELDS if is_mini else _EVENT_FIELDS
    event = "24hrMiniTicker" if is_mini else "24hrTicker"
    return {"e": event, **{short: values[name] for short, name in fields.items()}}
