# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The pieces that the OpenAPI document is put together from. Pure."""

from typing import Any

import msgspec

from linkora.timeframes import TIMEFRAMES

Json = dict[str, Any]
TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
DECIMAL: Json = {"type": "string", "pattern": r"^-?\d+\.\d{2,}$"}
TIME: Json = {"type": "string", "format": "date-time"}
ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": TEXT, "hint": TEXT},
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


def array_of(items: Json) -> Json:
    """Return the schema of an array."""
    return {"type": "array", "items": items}


def object_of(**properties: Json) -> Json:
    """Return the schema of an object that has all of these."""
    return {"type": "object", "required": list(properties), "properties": properties}


def query(name: str, schema: Json, text: str, *, is_required: bool = False) -> Json:
    """Return the description of a parameter in the query."""
    return {
        "name": name,
        "in": "query",
        "required": is_required,
        "description": text,
        "schema": schema,
    }


def endpoint(
    text: str,
    parameters: list[Json],
    schema: Json,
    *,
    error: Json = ERROR,
    later: Json = ERROR,
    media: dict[str, Json] | None = None,
) -> Json:
    """Return the description of one GET endpoint.

    Args:
        text: What it answers.
        parameters: Its parameters.
        schema: The body of the answer.
        error: The body where the request is wrong.
        later: The body where the same request may succeed later.
        media: The contents by media type, in the place of ``schema``.
    """

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
                "429": refused("Too many requests; Retry-After says when", later),
                "503": refused("Database or Redis away; Retry-After says when", later),
            },
        }
    }


SYMBOL = query(
    "symbol", {"type": "string", "examples": ["BTCUSDT"]}, "In any letter case", is_required=True
)
TIMEFRAME = query(
    "timeframe", {"enum": list(TIMEFRAMES), "default": "1"}, "1W opens on Monday; all in UTC"
)
_DATE = {"type": "string", "examples": ["2024-01-31T12:00:00.000Z", "1706702400000"]}
START = query("start_date", _DATE, "Earliest open time, ISO 8601 or Unix ms")
END = query("end_date", _DATE, "Latest open time, ISO 8601 or Unix ms")


def limit_of(default: int, most: int) -> Json:
    """Return the description of ``limit``."""
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return query("limit", schema, "The most elements of the answer")
