# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The API's description in OpenAPI 3.1, and the same as a page that needs nothing from elsewhere.

Sources: https://spec.openapis.org/oas/v3.1.0; the schemas come from the structs that are sent.
"""

import html
import json
from typing import Any

import msgspec

from orders.params import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET
from orders.views import OrderView, PositionView

ADDRESS = {"type": "string", "pattern": "^0[xX][0-9a-fA-F]{40}$"}
STATUS = {"type": "string", "enum": ["pending", "executed", "cancelled"]}


def _parameter(
    name: str, place: str, schema: dict[str, Any], text: str, example: str = ""
) -> dict[str, Any]:
    described = {"name": name, "in": place, "schema": schema, "description": text}
    return described | {"required": place == "path"} | ({"example": example} if example else {})


PAGE = [
    _parameter(
        "limit", "query",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        "The most entries of the answer.",
    ),
    _parameter(
        "offset", "query",
        {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0},
        "Entries to leave out first. For long lists use the cursor: it costs the same anywhere.",
    ),
    _parameter(
        "cursor", "query", {"type": "string"},
        "next_cursor of the page before: the page that follows it, whatever was added meanwhile.",
    ),
    _parameter(
        "order", "query", {"type": "string", "enum": ["desc", "asc"], "default": "desc"},
        "Newest or oldest first, by block and id.",
    ),
]  # fmt: skip
STATUS_FILTER = _parameter("status", "query", STATUS, "Only orders with this status, in any case.")
USER = _parameter(
    "address", "path", ADDRESS, "The user's address, in any letter case.", "0x" + "ab" * 20
)
ORDER_ID = _parameter("order_id", "path", {"type": "integer", "minimum": 0}, "The order's id.", "1")


def _answer(schema: dict[str, Any], text: str = "The answer.") -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


INTEGER, STRING, BOOLEAN = {"type": "integer"}, {"type": "string"}, {"type": "boolean"}
PAGED = {"total": INTEGER, "limit": INTEGER, "offset": INTEGER, "has_more": BOOLEAN}
ORDER_LIST = _object(
    orders={"type": "array", "items": _ref("OrderView")},
    **PAGED,
    next_cursor={"type": ["string", "null"]},
    status=STRING,
)
EVENT = _object(
    event_type={"type": "string", "enum": ["CREATED", "MODIFIED", "EXECUTED", "CANCELLED"]},
    old_status={"type": ["string", "null"]},
    new_status={"type": ["string", "null"]},
    tx_hash=STRING,
    block_number=INTEGER,
    log_index=INTEGER,
    timestamp=STRING,
    event_data={"type": "object"},
)
COUNTS = _object(total=INTEGER, last_24h=INTEGER)
REFUSED = _answer(_object(error=STRING), "What is wrong, and what is allowed.")


def _get(
    summary: str,
    schema: dict[str, Any],
    parameters: list[dict[str, Any]] | None = None,
    *refusals: str,
) -> dict[str, Any]:
    responses = {"200": _answer(schema)} | dict.fromkeys(refusals, REFUSED)
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses}}


def document() -> dict[str, Any]:
    """Return the description as a JSON-able object."""
    _, schemas = msgspec.json.schema_components(
        (OrderView, PositionView), ref_template="#/components/schemas/{name}"
    )
    order = _object(order=_ref("OrderView"), status=STRING)
    events = _object(
        order_id=INTEGER, events={"type": "array", "items": EVENT}, total=INTEGER, status=STRING
    )
    positions = _object(
        positions={"type": "array", "items": _ref("PositionView")}, **PAGED, status=STRING
    )
    statistics = _object(
        statistics=_object(PENDING=COUNTS, EXECUTED=COUNTS, CANCELLED=COUNTS), status=STRING
    )
    health = _object(
        overall_status={"type": "string", "enum": ["healthy", "unhealthy"]},
        components={"type": "object"},
        status=STRING,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Linkora order API",
            "version": "1",
            "description": "Orders and positions of the Trading contract, as the chain tells them. "
            "Amounts are scaled by their token's decimals and prices by 10^18; the contract's own "
            "integers stand beside them as ..._raw. All times are block times, UTC. WebSocket: "
            "/ws?user=&status= streams every change, the present orders first.",
        },
        "paths": {
            "/orders/pending": _get("Open orders", ORDER_LIST, PAGE, "400"),
            "/orders/executed": _get("Executed orders", ORDER_LIST, PAGE, "400"),
            "/orders/cancelled": _get("Cancelled orders", ORDER_LIST, PAGE, "400"),
            "/orders/all": _get("All orders", ORDER_LIST, [*PAGE, STATUS_FILTER], "400"),
            "/orders/{order_id}": _get("One order", order, [ORDER_ID], "400", "404"),
            "/orders/{order_id}/events": _get(
                "What happened to an order, oldest first", events, [ORDER_ID], "400", "404"
            ),
            "/users/{address}/orders": _get(
                "A user's orders", ORDER_LIST, [USER, *PAGE, STATUS_FILTER], "400"
            ),
            "/users/{address}/positions": _get(
                "A user's positions, newest first", positions, [USER, *PAGE[:2]], "400"
            ),
            "/statistics": _get(
                "How many orders there are, in all and of the last day", statistics
            ),
            "/health": _get("Whether the answers can be relied on; 503 if not", health, [], "503"),
        },
        "components": {"schemas": schemas},
    }


STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1a1a1a;background:#fff}code,pre{font:14px/1.4 ui-monospace,monospace}
section{border:1px solid #ccc;border-radius:6px;margin:1rem 0;padding:.5rem 1rem}
h2{font-size:1.1rem;margin:.3rem 0}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;border-top:1px solid #ddd;padding:.3rem .6rem .3rem 0}
details{margin:.5rem 0}pre{overflow:auto;background:#f5f5f5;padding:.6rem}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}section{border-color:#444}
td,th{border-color:#333}pre{background:#222}a{color:#8ab4f8}}
"""


def page() -> str:
    """Return the description as HTML without scripts, fonts or anything from another host."""
    described = document()
    sections = "".join(_section(path, item["get"]) for path, item in described["paths"].items())
    schemas = "".join(
        f"<details><summary><code>{html.escape(name)}</code></summary>"
        f"<pre>{html.escape(json.dumps(schema, indent=1))}</pre></details>"
        for name, schema in described["components"]["schemas"].items()
    )
    info = described["info"]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{info["title"]}</title>'
        f"<style>{STYLE}</style></head><body><h1>{info['title']}</h1>"
        f"<p>{html.escape(info['description'])}</p>"
        f'<p>Machine-readable: <a href="openapi.json">openapi.json</a></p>'
        f"{sections}<h2>Schemas</h2>{schemas}</body></html>"
    )


def _section(path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{p['name']}</code></td><td>{p['in']}</td>"
        f"<td><code>{html.escape(json.dumps(p['schema']))}</code></td>"
        f"<td>{html.escape(p['description'])}</td></tr>"
        for p in operation["parameters"]
    )
    table = f"<table><tr><th>name<th>in<th>form<th>meaning</tr>{rows}</table>" if rows else ""
    example = path.lstrip("/")
    for parameter in operation["parameters"]:
        example = example.replace(f"{{{parameter['name']}}}", parameter.get("example", ""))
    return (
        f"<section><h2><code>GET {html.escape(path)}</code></h2><p>{operation['summary']}. "
        f'<a href="{html.escape(example)}">Try it</a></p>{table}'
        f"<p>Answers: {', '.join(operation['responses'])}</p></section>"
    )
