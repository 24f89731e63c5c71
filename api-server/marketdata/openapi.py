# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the API is, in OpenAPI 3.1: made of the very constants and structs that the code uses.

A test holds it against the routes, and against what a running server answers to generated
requests.
"""

from typing import Any

import msgspec

from linkora.messages import TradeMessage
from linkora.timeframes import TIMEFRAMES
from marketdata import params
from marketdata.binance_intervals import INTERVALS
from marketdata.binance_params import MAX_KLINES
from marketdata.udf import MAX_BARS, MAX_FOUND, RESOLUTIONS
from marketdata.wire import Book, CandleRow

Json = dict[str, Any]
VERSION = "1.0.0"

_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_DECIMAL: Json = {"type": "string", "pattern": r"^-?\d+\.\d{2,}$"}
_TIME: Json = {"type": "string", "format": "date-time"}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": _TEXT, "hint": _TEXT},
}
_BINANCE_ERROR = {
    "type": "object",
    "required": ["code", "msg"],
    "properties": {"code": {"type": "integer"}, "msg": _TEXT},
}
_UDF_ERROR = {
    "type": "object",
    "required": ["s", "errmsg"],
    "properties": {"s": {"const": "error"}, "errmsg": _TEXT},
}


def struct_schema(kind: Any) -> Json:
    """Return a struct's schema, whole."""
    (schema,), parts = msgspec.json.schema_components([kind], ref_template="#/components/{name}")
    whole: Json = _inlined(schema, parts)
    return whole


def _inlined(schema: Any, parts: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(each, parts) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(parts[schema["$ref"].rpartition("/")[2]], parts)
    return {name: _inlined(value, parts) for name, value in schema.items() if name != "default"}


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _query(name: str, schema: Json, text: str, *, is_required: bool = False) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": is_required,
        "description": text,
        "schema": schema,
    }


def _get(
    text: str,
    parameters: list[Json],
    schema: Json,
    *,
    error: Json = _ERROR,
    media: dict[str, Json] | None = None,
) -> Json:
    """Return the description of one GET endpoint."""

    def refused(why: str, body: Json = error) -> Json:
        return {"description": why, "content": {"application/json": {"schema": body}}}

    return {
        "get": {
            "summary": text,
            "parameters": parameters,
            "responses": {
                "200": {
                    "description": "The answer",
                    "content": {"application/json": {"schema": schema}} if media is None else media,
                },
                "304": {"description": "Unchanged: the ETag of If-None-Match still holds"},
                "400": refused("A wrong parameter; the text says what is allowed"),
                "404": refused("Unknown symbol, or nothing is known of it"),
                "429": refused("Too many requests; Retry-After says when", _ERROR),
                "503": refused("Database or Redis away; Retry-After says when", _ERROR),
            },
        }
    }


_SYMBOL = _query(
    "symbol", {"type": "string", "examples": ["BTCUSDT"]}, "In any letter case", is_required=True
)
_TIMEFRAME = _query(
    "timeframe", {"enum": list(TIMEFRAMES), "default": "1"}, "1W opens on Monday; all in UTC"
)
_DATE = {"type": "string", "examples": ["2024-01-31T12:00:00.000Z", "1706702400000"]}
_START = _query("start_date", _DATE, "Earliest open time, ISO 8601 or Unix ms")
_END = _query("end_date", _DATE, "Latest open time, ISO 8601 or Unix ms")


def _limit(default: int, most: int) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return _query("limit", schema, "The most elements of the answer")


_CANDLES_MEDIA = {
    "application/json": {"schema": _array(struct_schema(CandleRow))},
    **{
        media: {"schema": {"type": "string"}}
        for media in (
            "text/csv; charset=utf-8",
            "application/vnd.apache.parquet",
            "application/vnd.apache.arrow.stream",
        )
    },
}

_REST: dict[str, Json] = {
    "/symbols": _get("The collected symbols", [], _object(symbols=_array(_TEXT))),
    "/candles": _get(
        "Candles, the running one included; without start_date the newest ones",
        [
            _SYMBOL,
            _TIMEFRAME,
            _START,
            _END,
            _limit(params.DEFAULT_LIMIT, params.MAX_LIMIT),
            _query("order", {"enum": ["asc", "desc"], "default": "asc"}, "Oldest or newest first"),
            _query(
                "format",
                {"enum": list(params.FORMATS), "default": "json"},
                "All but json stream the whole range if there is no limit; see also Accept",
            ),
        ],
        {},
        media=_CANDLES_MEDIA,
    ),
    "/orderbook": _get(
        "The newest order book",
        [_SYMBOL, _query("levels", {"enum": list(params.LEVELS), "default": 20}, "Of each side")],
        struct_schema(Book),
    ),
    "/price": _get(
        "The newest close against the close of the bucket before",
        [_SYMBOL, _TIMEFRAME],
        _object(
            symbol=_TEXT,
            timeframe={"enum": list(TIMEFRAMES)},
            current_price=_DECIMAL,
            previous_price=_DECIMAL,
            change_absolute=_DECIMAL,
            change_percent=_DECIMAL,
            trend={"enum": ["up", "down", "neutral"]},
            timestamp=_COUNT,
            volume=_DECIMAL,
        ),
    ),
    "/trades/{symbol}": _get(
        "Recent trades, the newest first",
        [
            {"name": "symbol", "in": "path", "required": True, "schema": _SYMBOL["schema"]},
            _limit(params.DEFAULT_TRADES, params.MAX_TRADES),
        ],
        _object(symbol=_TEXT, trades=_array(struct_schema(TradeMessage))),
    ),
    "/gaps": _get(
        "Minutes that are missing, from start until before end, and why",
        [
            {**_SYMBOL, "required": False},
            _START,
            _END,
            _query("state", {"enum": list(params.GAP_STATES)}, "What became of it"),
            _limit(params.DEFAULT_LIMIT, params.MAX_LIMIT),
        ],
        _object(
            gaps=_array(
                _object(
                    symbol=_TEXT,
                    start=_TIME,
                    end=_TIME,
                    start_timestamp=_COUNT,
                    end_timestamp=_COUNT,
                    minutes=_COUNT,
                    state={"enum": list(params.GAP_STATES)},
                    reason={"type": ["string", "null"]},
                    attempts=_COUNT,
                    updated_at=_TIME,
                )
            )
        ),
    ),
    "/health": _get(
        "Which neighbours are there; 503 names the one that is away",
        [],
        _object(
            status={"enum": ["healthy", "degraded"]},
            timestamp=_TIME,
            database={"enum": ["healthy", "unhealthy"]},
            redis={"enum": ["healthy", "unhealthy"]},
        ),
        error={},
    ),
    "/metrics": _get("Prometheus metrics", [], {}, media={"text/plain": {"schema": _TEXT}}),
}

_BARS = {name: _array({"type": "number"}) for name in "tohlcv"}
_UNIX_S = {"type": "integer", "minimum": 0, "maximum": 99_999_999_999}
_UDF: dict[str, Json] = {
    "/udf/config": _get("TradingView: what may be asked", [], {"type": "object"}),
    "/udf/time": _get("TradingView: Unix seconds", [], {}, media={"text/plain": {"schema": _TEXT}}),
    "/udf/symbols": _get(
        "TradingView: one symbol", [_SYMBOL], {"type": "object"}, error=_UDF_ERROR
    ),
    "/udf/search": _get(
        "TradingView: symbols that contain a text",
        [
            _query("query", _TEXT, "Part of a name"),
            _query("type", _TEXT, "crypto"),
            _query("exchange", _TEXT, "Binance"),
            _limit(30, MAX_FOUND),
        ],
        _array({"type": "object"}),
        error=_UDF_ERROR,
    ),
    "/udf/history": _get(
        "TradingView: bars as columns",
        [
            _SYMBOL,
            _query(
                "resolution", {"enum": list(RESOLUTIONS)}, "Minutes or D, W, M", is_required=True
            ),
            _query("from", _UNIX_S, "Unix seconds, included"),
            _query("to", _UNIX_S, "Unix seconds, excluded"),
            _query("countback", {"type": "integer", "minimum": 1, "maximum": MAX_BARS}, "Bars"),
        ],
        {
            "oneOf": [
                _object(s={"const": "ok"}, **_BARS),
                {
                    "type": "object",
                    "required": ["s"],
                    "properties": {"s": {"const": "no_data"}, "nextTime": _COUNT},
                },
            ]
        },
        error=_UDF_ERROR,
    ),
}

_MS = {"type": "integer", "minimum": 0, "maximum": 10**18}
_SOME = [
    {**_SYMBOL, "required": False},
    _query("symbols", _TEXT, 'A JSON array such as ["BTCUSDT","ETHUSDT"]'),
]


def _binance(text: str, parameters: list[Json], schema: Json) -> Json:
    return _get(f"Binance: {text}", parameters, schema, error={"anyOf": [_BINANCE_ERROR, _ERROR]})


def _binance_limit(default: int, most: int) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return _query("limit", schema, f"More than {most} counts as {most}")


# Twelve elements: times and the number of trades are integers, all other numbers strings.
_KLINE = {
    "type": "array",
    "items": {"type": ["integer", "string"]},
    "minItems": 12,
    "maxItems": 12,
}
_KLINE_QUERY = [
    _SYMBOL,
    _query("interval", {"enum": list(INTERVALS)}, "As on Binance, but 1s", is_required=True),
    _query("startTime", _MS, "Earliest open time, Unix ms"),
    _query("endTime", _MS, "Latest open time, Unix ms"),
    _binance_limit(500, MAX_KLINES),
]
_SIDE = _array({"type": "array", "items": _DECIMAL, "minItems": 2, "maxItems": 2})
_TRADES_QUERY = [_SYMBOL, _binance_limit(500, 1000)]
_AGGREGATES_QUERY = [
    *_TRADES_QUERY,
    _query("fromId", _MS, "The first trade's number"),
    _query("startTime", _MS, "Unix ms"),
    _query("endTime", _MS, "Unix ms"),
]
_OBJECT_OR_LIST = {"type": ["object", "array"]}
_BINANCE: dict[str, Json] = {
    "/api/v3/ping": _binance("nothing", [], {"type": "object"}),
    "/api/v3/time": _binance("the time", [], _object(serverTime=_COUNT)),
    "/api/v3/exchangeInfo": _binance(
        "the symbols", _SOME, _object(symbols=_array({"type": "object"}), serverTime=_COUNT)
    ),
    "/api/v3/klines": _binance("candles", _KLINE_QUERY, _array(_KLINE)),
    "/api/v3/uiKlines": _binance("candles", _KLINE_QUERY, _array(_KLINE)),
    "/api/v3/depth": _binance(
        "the order book, 20 levels at most",
        [_SYMBOL, _binance_limit(100, 5000)],
        _object(lastUpdateId=_COUNT, bids=_SIDE, asks=_SIDE),
    ),
    "/api/v3/aggTrades": _binance("recent trades", _AGGREGATES_QUERY, _array({"type": "object"})),
    "/api/v3/trades": _binance("recent trades", _TRADES_QUERY, _array({"type": "object"})),
    "/api/v3/ticker/price": _binance("the newest prices", _SOME, _OBJECT_OR_LIST),
    "/api/v3/ticker/24hr": _binance(
        "the newest day",
        [*_SOME, _query("type", {"enum": ["FULL", "MINI"], "default": "FULL"}, "How much")],
        _OBJECT_OR_LIST,
    ),
    "/api/v3/ticker/bookTicker": _binance("the best prices", _SOME, _OBJECT_OR_LIST),
}

_NAME = {"type": "string", "maxLength": 200}
_FIGURES: dict[str, Json] = {
    "/metrics/history": _get(
        "What the services said of themselves; without service and metric, their names",
        [
            _query("service", _NAME, "Such as api-server"),
            _query("metric", _NAME, "Names with commas between"),
            _query("instance", _NAME, "One process of several"),
            _START,
            _END,
            _query("step", {"type": "integer", "minimum": 60, "multipleOf": 60}, "Seconds"),
        ],
        {"type": "object"},
    ),
}


def openapi() -> Json:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Linkora market data",
            "version": VERSION,
            "description": "Candles of all timeframes, order books and trades. "
            "WebSockets are described in /asyncapi.json.",
            "license": {"name": "AGPL-3.0-only OR LicenseRef-Linkora-Commercial"},
        },
        "paths": {**_REST, **_UDF, **_BINANCE, **_FIGURES},
    }
