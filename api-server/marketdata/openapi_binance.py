# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The paths under ``/api/v3``, for the OpenAPI document."""

from marketdata.binance_intervals import INTERVALS, SECOND
from marketdata.binance_params import MAX_DEPTH, MAX_KLINES, MAX_TRADES
from marketdata.schemas import (
    COUNT,
    DECIMAL,
    SYMBOL,
    TEXT,
    Json,
    array_of,
    endpoint,
    object_of,
    query,
)

_BINANCE_ERROR = {
    "type": "object",
    "required": ["code", "msg"],
    "properties": {"code": {"type": "integer"}, "msg": TEXT},
}
_MS = {"type": "integer", "minimum": 0, "maximum": 10**18}
_SOME = [
    {**SYMBOL, "required": False},
    query("symbols", TEXT, 'A JSON array such as ["BTCUSDT","ETHUSDT"]'),
]


def _binance(text: str, parameters: list[Json], schema: Json) -> Json:
    return endpoint(
        f"Binance: {text}", parameters, schema, error=_BINANCE_ERROR, later=_BINANCE_ERROR
    )


def _binance_limit(default: int, most: int) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return query("limit", schema, f"More than {most} counts as {most}")


_ZONE = {"type": "string", "pattern": r"^[+-]?\d{1,2}(:\d{2})?$", "default": "0"}
# Twelve elements: times and the number of trades are integers, all other numbers strings.
_KLINE = {
    "type": "array",
    "items": {"type": ["integer", "string"]},
    "minItems": 12,
    "maxItems": 12,
}
_KLINE_QUERY = [
    SYMBOL,
    query("interval", {"enum": [SECOND, *INTERVALS]}, "As on Binance", is_required=True),
    query("startTime", _MS, "Earliest open time, Unix ms"),
    query("endTime", _MS, "Latest open time, Unix ms"),
    query("timeZone", _ZONE, "Hours, or hours and minutes, ahead of UTC: 8, -3:30, 05:45"),
    _binance_limit(500, MAX_KLINES),
]
_SIDE = array_of({"type": "array", "items": DECIMAL, "minItems": 2, "maxItems": 2})
_TRADES_QUERY = [SYMBOL, _binance_limit(500, MAX_TRADES)]
_AGGREGATES_QUERY = [
    *_TRADES_QUERY,
    query("fromId", _MS, "The first trade's number"),
    query("startTime", _MS, "Unix ms"),
    query("endTime", _MS, "Unix ms"),
]
_OBJECT_OR_LIST = {"type": ["object", "array"]}
BINANCE: dict[str, Json] = {
    "/api/v3/ping": _binance("nothing", [], {"type": "object"}),
    "/api/v3/time": _binance("the time", [], object_of(serverTime=COUNT)),
    "/api/v3/exchangeInfo": _binance(
        "the symbols", _SOME, object_of(symbols=array_of({"type": "object"}), serverTime=COUNT)
    ),
    "/api/v3/klines": _binance("candles", _KLINE_QUERY, array_of(_KLINE)),
    "/api/v3/uiKlines": _binance("candles", _KLINE_QUERY, array_of(_KLINE)),
    "/api/v3/depth": _binance(
        "the order book, as many levels of it as are kept",
        [SYMBOL, _binance_limit(100, MAX_DEPTH)],
        object_of(lastUpdateId=COUNT, bids=_SIDE, asks=_SIDE),
    ),
    "/api/v3/aggTrades": _binance("recent trades", _AGGREGATES_QUERY, array_of({"type": "object"})),
    "/api/v3/trades": _binance("recent trades", _TRADES_QUERY, array_of({"type": "object"})),
    "/api/v3/ticker/price": _binance("the newest prices", _SOME, _OBJECT_OR_LIST),
    "/api/v3/ticker/24hr": _binance(
        "the newest day",
        [
            *_SOME,
            query("type", {"enum": ["FULL", "MINI"], "default": "FULL"}, "How much"),
        ],
        _OBJECT_OR_LIST,
    ),
    "/api/v3/ticker/bookTicker": _binance("the best prices", _SOME, _OBJECT_OR_LIST),
}
