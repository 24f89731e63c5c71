# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Binance's payloads: books, klines, trades, symbols. Pure.

Source of the forms: Binance's public documentation of the spot REST API and web socket streams.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from linkora.decimals import plain
from linkora.market import Candle, Level, OrderBook
from linkora.messages import TradeMessage
from marketdata.assets import Precision, split_symbol


def pairs(levels: Iterable[Level]) -> list[tuple[str, str]]:
    """Return the levels of a book as Binance writes them."""
    return [(plain(level.price), plain(level.quantity)) for level in levels]


def depth(book: OrderBook, levels: int) -> dict[str, Any]:
    """Return ``/api/v3/depth`` and the payload of ``@depth<levels>``."""
    return {
        "lastUpdateId": book.last_update_id,
        "bids": pairs(book.bids[:levels]),
        "asks": pairs(book.asks[:levels]),
    }


def depth_update(book: OrderBook, before: OrderBook, event_ms: int) -> dict[str, Any]:
    """Return the payload of ``@depth``: what changed between two books.

    A level that left the best 20 is told as gone, so that a client's book is our book.
    """
    return {
        "e": "depthUpdate",
        "E": event_ms,
        "s": book.symbol,
        "U": before.last_update_id + 1,
        "u": book.last_update_id,
        "b": _changed(before.bids, book.bids),
        "a": _changed(before.asks, book.asks),
    }


def _changed(before: Iterable[Level], after: Iterable[Level]) -> list[tuple[str, str]]:
    old, new = dict(before), dict(after)
    gone = [Level(price, Decimal(0)) for price in old if price not in new]
    other = [Level(price, amount) for price, amount in new.items() if old.get(price) != amount]
    return pairs(other + gone)


def book_ticker(book: OrderBook) -> dict[str, Any]:
    """Return the payload of ``@bookTicker``."""
    bid, ask = book.bids[0], book.asks[0]
    return {
        "u": book.last_update_id,
        "s": book.symbol,
        "b": plain(bid.price),
        "B": plain(bid.quantity),
        "a": plain(ask.price),
        "A": plain(ask.quantity),
    }


def kline_event(candle: Candle, interval: str, event_ms: int) -> dict[str, Any]:
    """Return the payload of ``@kline_<interval>``; the numbers of the trades are not known.

    Args:
        candle: The kline.
        interval: Its name, perhaps with a zone.
        event_ms: The present, Unix ms.
    """
    return {
        "e": "kline",
        "E": event_ms,
        "s": candle.symbol,
        "k": {
            "t": candle.open_time_ms,
            "T": candle.close_time_ms,
            "s": candle.symbol,
            "i": interval.partition("@")[0],
            "f": -1,
            "L": -1,
            "o": plain(candle.open),
            "c": plain(candle.close),
            "h": plain(candle.high),
            "l": plain(candle.low),
            "v": plain(candle.volume),
            "n": candle.trades,
            "x": candle.is_closed,
            "q": plain(candle.quote_volume),
            "V": plain(candle.taker_buy_volume),
            "Q": plain(candle.taker_buy_quote_volume),
            "B": "0",
        },
    }


def kline_row(candle: Candle) -> list[Any]:
    """Return an element of ``klines``; the last of the twelve is no longer used by Binance."""
    return [
        candle.open_time_ms,
        plain(candle.open),
        plain(candle.high),
        plain(candle.low),
        plain(candle.close),
        plain(candle.volume),
        candle.close_time_ms,
        plain(candle.quote_volume),
        candle.trades,
        plain(candle.taker_buy_volume),
        plain(candle.taker_buy_quote_volume),
        "0",
    ]


def aggregate_trade(trade: TradeMessage) -> dict[str, Any]:
    """Return an element of ``aggTrades``: each trade is an aggregate of one."""
    return {
        "a": trade.id,
        "p": trade.price,
        "q": trade.quantity,
        "f": trade.id,
        "l": trade.id,
        "T": trade.timestamp,
        "m": trade.is_buyer_maker,
        "M": True,
    }


def single_trade(trade: TradeMessage) -> dict[str, Any]:
    """Return an element of ``trades``."""
    return {
        "id": trade.id,
        "price": trade.price,
        "qty": trade.quantity,
        "quoteQty": plain(Decimal(trade.price) * Decimal(trade.quantity)),
        "time": trade.timestamp,
        "isBuyerMaker": trade.is_buyer_maker,
        "isBestMatch": True,
    }


def trade_event(kind: str, symbol: str, trade: TradeMessage, event_ms: int) -> dict[str, Any]:
    """Return the payload of ``@aggTrade`` or ``@trade``."""
    common = {"e": kind, "E": event_ms, "s": symbol}
    if kind == "aggTrade":
        return {**common, **aggregate_trade(trade)}
    return {
        **common,
        "t": trade.id,
        "p": trade.price,
        "q": trade.quantity,
        "T": trade.timestamp,
        "m": trade.is_buyer_maker,
        "M": True,
    }


def rate_limits(requests_per_minute: int) -> list[dict[str, Any]]:
    """Return ``exchangeInfo.rateLimits``: here each request counts one; 0 for no limit."""
    if not requests_per_minute:
        return []
    return [
        {
            "rateLimitType": "RAW_REQUESTS",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": requests_per_minute,
        }
    ]


def symbol_info(name: str, precision: Precision) -> dict[str, Any]:
    """Return an element of ``exchangeInfo.symbols``."""
    base, quote = split_symbol(name)
    tick = plain(Decimal(1).scaleb(-precision.price))
    step = plain(Decimal(1).scaleb(-precision.quantity))
    return {
        "symbol": name,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "quoteOrderQtyMarketAllowed": False,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": _MOST, "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": _MOST, "stepSize": step},
        ],
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }


_MOST = "100000000.00000000"
