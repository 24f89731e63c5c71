# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""``/openapi.json``, ``/asyncapi.json``, and ``/docs``: a page made of them, without scripts."""

from html import escape
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from linkora.http import json_bytes_response
from marketdata.asyncapi import CLIENT_MESSAGES, CLOSE_CODES, SERVER_MESSAGES, asyncapi
from marketdata.openapi import openapi

PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "public, max-age=300",
}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1a1f2b; background: #fff; }
@media (prefers-color-scheme: dark) { body { color: #d7dce6; background: #12151c; }
  a { color: #8ab4ff; } td, th { border-color: #333a48 !important; } }
code { font-family: ui-monospace, monospace; font-size: .92em; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid #dde1ea; vertical-align: top; } h2 { margin-top: 2.5rem; }
section { margin: 1.6rem 0; }
"""
_EXAMPLES = {
    "symbol": "BTCUSDT",
    "timeframe": "5",
    "interval": "5m",
    "resolution": "5",
    "limit": "3",
}


def docs_routes() -> list[Route]:
    """Return the routes; everything is made once."""
    rest, sockets = openapi(), asyncapi()
    rest_json, sockets_json = msgspec.json.encode(rest), msgspec.json.encode(sockets)
    page = docs_page(rest)

    async def tell_openapi(_: Request) -> Response:
        return json_bytes_response(rest_json)

    async def tell_asyncapi(_: Request) -> Response:
        return json_bytes_response(sockets_json)

    async def tell_page(_: Request) -> Response:
        return HTMLResponse(page, headers=PAGE_HEADERS)

    return [
        Route("/openapi.json", tell_openapi),
        Route("/asyncapi.json", tell_asyncapi),
        Route("/docs", tell_page),
    ]


def docs_page(document: dict[str, Any]) -> str:
    """Return the page: each endpoint with its parameters and a link that tries it."""
    endpoints = "".join(_endpoint(path, item["get"]) for path, item in document["paths"].items())
    messages = "".join(
        _row(side, f"<code>{escape(name)}</code>", escape(message.get("summary", "")))
        for side, group in (("server", SERVER_MESSAGES), ("client", CLIENT_MESSAGES))
        for name, message in group.items()
    )
    codes = "".join(_row(str(code), escape(text)) for code, text in sorted(CLOSE_CODES.items()))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Linkora market data</title><style>{_STYLE}</style></head><body>
<h1>Linkora market data</h1>
<p>{escape(document["info"]["description"])} Machine-readable:
<a href="openapi.json">openapi.json</a>, <a href="asyncapi.json">asyncapi.json</a>.</p>
<h2>REST</h2>{endpoints}
<h2>WebSocket <code>/ws</code></h2>
<table><tr><th>from</th><th>type</th><th></th></tr>{messages}</table>
<h3>Close codes</h3><table>{codes}</table>
</body></html>
"""


def _endpoint(path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        _row(
            f"<code>{escape(each['name'])}</code>{' *' if each['required'] else ''}",
            escape(_allowed(each["schema"])),
            escape(each.get("description", "")),
        )
        for each in operation["parameters"]
    )
    names = [each["name"] for each in operation["parameters"] if each["in"] == "query"]
    query = "&".join(f"{name}={_EXAMPLES[name]}" for name in names if name in _EXAMPLES)
    example = path.replace("{symbol}", "BTCUSDT") + (f"?{query}" if query else "")
    return (
        f"<section><h3><code>{escape(path)}</code></h3><p>{escape(operation['summary'])}. "
        f'<a href="{escape(example.lstrip("/"))}">Try it</a></p>'
        + (f"<table>{rows}</table>" if rows else "")
        + "</section>"
    )


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "maximum" in schema:
        return f"{schema.get('minimum', 0)} to {schema['maximum']}"
    return str(schema.get("type", ""))


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
