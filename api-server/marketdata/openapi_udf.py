# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The paths under ``/udf``, for the OpenAPI document."""

from marketdata.schemas import (
    COUNT,
    SYMBOL,
    TEXT,
    Json,
    array_of,
    endpoint,
    limit_of,
    object_of,
    query,
)
from marketdata.udf import MAX_BARS, MAX_FOUND, RESOLUTIONS

_UDF_ERROR = {
    "type": "object",
    "required": ["s", "errmsg"],
    "properties": {"s": {"const": "error"}, "errmsg": TEXT},
}
_BARS = {name: array_of({"type": "number"}) for name in "tohlcv"}
_UNIX_S = {"type": "integer", "minimum": 0, "maximum": 99_999_999_999}
UDF: dict[str, Json] = {
    "/udf/config": endpoint("TradingView: what may be asked", [], {"type": "object"}),
    "/udf/time": endpoint(
        "TradingView: Unix seconds", [], {}, media={"text/plain": {"schema": TEXT}}
    ),
    "/udf/symbols": endpoint(
        "TradingView: one symbol", [SYMBOL], {"type": "object"}, error=_UDF_ERROR
    ),
    "/udf/search": endpoint(
        "TradingView: symbols that contain a text",
        [
            query("query", TEXT, "Part of a name"),
            query("type", TEXT, "crypto"),
            query("exchange", TEXT, "Binance"),
            limit_of(30, MAX_FOUND),
        ],
        array_of({"type": "object"}),
        error=_UDF_ERROR,
    ),
    "/udf/history": endpoint(
        "TradingView: bars as columns",
        [
            SYMBOL,
            query(
                "resolution", {"enum": list(RESOLUTIONS)}, "Minutes or D, W, M", is_required=True
            ),
            query("from", _UNIX_S, "Unix seconds, included"),
            query("to", _UNIX_S, "Unix seconds, excluded"),
            query("countback", {"type": "integer", "minimum": 1, "maximum": MAX_BARS}, "Bars"),
        ],
        {
            "oneOf": [
                object_of(s={"const": "ok"}, **_BARS),
                {
                    "type": "object",
                    "required": ["s"],
                    "properties": {"s": {"const": "no_data"}, "nextTime": COUNT},
                },
            ]
        },
        error=_UDF_ERROR,
    ),
}
