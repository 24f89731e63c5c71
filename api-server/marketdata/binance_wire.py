# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Binance's spot API as its clients know it: intervals, parameters, errors, payloads. Pure.

Source of the rules: Binance's public documentation of the spot REST API and web socket streams.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from linkora.decimals import plain
from linkora.market import Candle, Level, OrderBook
from linkora.messages import TradeMessage
from linkora.timeframes import DAY_MS, HOUR_MS, TIMEFRAMES, Timeframe
from marketdata.assets import Precision, split_symbol

MAX_KLINES = 1000
MAX_DEPTH = 5000
MAX_TRADES = 1000
LEVELS_KEPT = 20
# Four widths that only Binance has; ``table`` is that of the candles which they are made of.
WIDER = {
    "6h": Timeframe("6H", TIMEFRAMES["3H"].table, 6 * HOUR_MS, "1H"),
    "8h": Timeframe("8H", TIMEFRAMES["4H"].table, 8 * HOUR_MS, "1H"),
    "12h": Timeframe("12H", TIMEFRAMES["4H"].table, 12 * HOUR_MS, "1H"),
    "3d": Timeframe("3D", TIMEFRAMES["1D"].table, 3 * DAY_MS, "1D"),
}
# All of Binance's except ``1s``, which cannot be had from one-minute candles.
INTERVALS = {
    **{f"{n}m": TIMEFRAMES[str(n)] for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": TIMEFRAMES[f"{n}H"] for n in (1, 2, 4)},
    "1d": TIMEFRAMES["1D"],
    "1w": TIMEFRAMES["1W"],
    "1M": TIMEFRAMES["1M"],
    **WIDER,
}
INTERVAL_OF = {frame.name: name for name, frame in INTERVALS.items()}


class BinanceError(Exception):
    """A refused request: ``{"code": ..., "msg": ...}`` with status 400."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


_SYMBOLS_FORM = r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\]$'


def invalid_symbol() -> BinanceError:
    """Return the error of a symbol that is not known."""
    return BinanceError(-1121, "Invalid symbol.")


def missing(name: str) -> BinanceError:
    """Return the error of an absent parameter."""
    return BinanceError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def symbol_of(query: Mapping[str, str]) -> str:
    """Return ``symbol``; Binance's are capitals only, we take any."""
    name = query.get("symbol", "").strip().upper()
    if not name:
        raise missing("symbol")
    return name


def symbols_of(query: Mapping[str, str]) -> list[str] | None:
    """Return what ``symbol`` or ``symbols`` (a JSON array) name, ``None`` for all."""
    if "symbols" in query:
        if "symbol" in query:
            raise BinanceError(-1128, "Combination of optional parameters invalid.")
        try:
            names = msgspec.json.decode(query["symbols"], type=list[str])
        except (msgspec.MsgspecError, UnicodeError):
            raise illegal(
                "symbols", r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\]$'
            ) from None
        return [name.upper() for name in names]
    return [symbol_of(query)] if "symbol" in query else None


def illegal(name: str, legal: str) -> BinanceError:
    """Return the error of a malformed parameter."""
    return BinanceError(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    )


def interval_of(query: Mapping[str, str]) -> Timeframe:
    """Return the timeframe of ``interval``."""
    name = query.get("interval", "")
    if not name:
        raise missing("interval")
    if name not in INTERVALS:
        raise BinanceError(-1120, "Invalid interval.")
    return INTERVALS[name]


def number_of(query: Mapping[str, str], name: str) -> int | None:
    """Return an unsigned integer, ``None`` if absent."""
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise illegal(name, "^[0-9]{1,20}$")
    return int(text)


def limit_of(query: Mapping[str, str], default: int, most: int) -> int:
    """Return ``limit``; what is more than ``most`` is cut down to it."""
    limit = number_of(query, "limit")
    if limit == 0:
        raise BinanceError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(default if limit is None else limit, most)


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
    """Return the payload of ``@kline_<interval>``; the numbers of the trades are not known."""
    return {
        "e": "kline",
        "E": event_ms,
        "s": candle.symbol,
        "k": {
            "t": candle.open_time_ms,
            "T": candle.close_time_ms,
            "s": candle.symbol,
            "i": interval,
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


class Stream(msgspec.Struct, frozen=True):
    """One stream's name, taken apart.

    Attributes:
        kind: ``kline``, ``depth`` (changes), ``book``, ``bookTicker``, ``aggTrade`` or ``trade``.
        detail: The interval of a kline; the levels of a book.
        is_combined: Whether payloads are wrapped with the stream's name.
    """

    name: str
    symbol: str
    kind: str
    detail: str = ""
    is_combined: bool = False


def parse_stream(name: str, *, is_combined: bool) -> Stream | None:
    """Return the stream of that name, ``None`` for one that we have not."""
    symbol, _, kind = name.partition("@")
    detail = ""
    plain_kind = kind.removesuffix("@100ms").removesuffix("@1000ms")
    if plain_kind.startswith("kline_"):
        kind, detail = "kline", kind.removeprefix("kline_")
        if detail not in INTERVALS:
            return None
    elif plain_kind in {"depth5", "depth10", "depth20"}:
        kind, detail = "book", plain_kind.removeprefix("depth")
    elif plain_kind == "depth":
        kind = "depth"
    elif kind not in {"bookTicker", "aggTrade", "trade"}:
        return None
    if not symbol or symbol != symbol.lower():
        return None
    return Stream(name, symbol.upper(), kind, detail, is_combined)
