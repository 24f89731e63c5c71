# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the API is, in OpenAPI 3.1: made of the very constants and structs that the code uses.

A test holds it against the routes, and against what a running server answers to generated
requests.
"""

from linkora.messages import TradeMessage
from linkora.timeframes import TIMEFRAMES
from marketdata import params
from marketdata.openapi_binance import BINANCE
from marketdata.openapi_udf import UDF
from marketdata.schemas import (
    COUNT,
    DECIMAL,
    END,
    START,
    SYMBOL,
    TEXT,
    TIME,
    TIMEFRAME,
    Json,
    array_of,
    endpoint,
    limit_of,
    object_of,
    query,
    struct_schema,
)
from marketdata.wire import Book, CandleRow

VERSION = "1.0.0"

_CANDLES_MEDIA = {
    "application/json": {"schema": array_of(struct_schema(CandleRow))},
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
    "/symbols": endpoint("The collected symbols", [], object_of(symbols=array_of(TEXT))),
    "/candles": endpoint(
        "Candles, the running one included; without start_date the newest ones",
        [
            SYMBOL,
            TIMEFRAME,
            START,
            END,
            limit_of(params.DEFAULT_LIMIT, params.MAX_LIMIT),
            query("order", {"enum": ["asc", "desc"], "default": "asc"}, "Oldest or newest first"),
            query(
                "format",
                {"enum": list(params.FORMATS), "default": "json"},
                "All but json stream the whole range if there is no limit; see also Accept",
            ),
        ],
        {},
        media=_CANDLES_MEDIA,
    ),
    "/orderbook": endpoint(
        "The newest order book",
        [
            SYMBOL,
            query("levels", {"enum": list(params.LEVELS), "default": 20}, "Of each side"),
        ],
        struct_schema(Book),
    ),
    "/price": endpoint(
        "The newest close against the close of the bucket before",
        [SYMBOL, TIMEFRAME],
        object_of(
            symbol=TEXT,
            timeframe={"enum": list(TIMEFRAMES)},
            current_price=DECIMAL,
            previous_price=DECIMAL,
            change_absolute=DECIMAL,
            change_percent=DECIMAL,
            trend={"enum": ["up", "down", "neutral"]},
            timestamp=COUNT,
            volume=DECIMAL,
        ),
    ),
    "/trades/{symbol}": endpoint(
        "Recent trades, the newest first",
        [
            {"name": "symbol", "in": "path", "required": True, "schema": SYMBOL["schema"]},
            limit_of(params.DEFAULT_TRADES, params.MAX_TRADES),
        ],
        object_of(symbol=TEXT, trades=array_of(struct_schema(TradeMessage))),
    ),
    "/gaps": endpoint(
        "Minutes that are missing, from start until before end, and why",
        [
            {**SYMBOL, "required": False},
            START,
            END,
            query("state", {"enum": list(params.GAP_STATES)}, "What became of it"),
            limit_of(params.DEFAULT_LIMIT, params.MAX_LIMIT),
        ],
        object_of(
            gaps=array_of(
                object_of(
                    symbol=TEXT,
                    start=TIME,
                    end=TIME,
                    start_timestamp=COUNT,
                    end_timestamp=COUNT,
                    minutes=COUNT,
                    state={"enum": list(params.GAP_STATES)},
                    reason={"type": ["string", "null"]},
                    attempts=COUNT,
                    updated_at=TIME,
                )
            )
        ),
    ),
    "/health": endpoint(
        "Which neighbours are there; 503 names the one that is away",
        [],
        object_of(
            status={"enum": ["healthy", "degraded"]},
            timestamp=TIME,
            database={"enum": ["healthy", "unhealthy"]},
            redis={"enum": ["healthy", "unhealthy"]},
        ),
        error={},
    ),
    "/metrics": endpoint("Prometheus metrics", [], {}, media={"text/plain": {"schema": TEXT}}),
}

_NAME = {"type": "string", "maxLength": 200}
_FIGURES: dict[str, Json] = {
    "/metrics/history": endpoint(
        "What the services said of themselves; without service and metric, their names",
        [
            query("service", _NAME, "Such as api-server"),
            query("metric", _NAME, "Names with commas between"),
            query("instance", _NAME, "One process of several"),
            START,
            END,
            query("step", {"type": "integer", "minimum": 60, "multipleOf": 60}, "Seconds"),
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
        "paths": {**_REST, **UDF, **BINANCE, **_FIGURES},
    }
