# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The order API as an ASGI application."""

from datetime import UTC, datetime
from typing import Protocol

import msgspec
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from linkora import metrics
from linkora.dialog import converse
from linkora.errors import TransientError
from linkora.http import EXCEPTION_HANDLERS, json_bytes_response, json_response
from linkora.hub import Hub
from linkora.sockets import Sockets
from orders import openapi
from orders.condition import Bounds, ScannerState, judge
from orders.rest import Reads, Routes
from orders.subscriptions import OrderChannels

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


class Sources(Reads, Protocol):
    """What the API needs of the database."""

    async def scanner_state(self) -> ScannerState | None:
        """Return what the event processor last said of itself."""


class Deps(msgspec.Struct, frozen=True):
    """What the routes use.

    Attributes:
        sources: Reads of the database.
        bounds: Limits of what counts as healthy.
        registry: The metrics to tell.
        hub: Who follows what.
        sockets: The open WebSockets.
        channels: What can be followed.
        middleware: What stands before every route.
        router: Address of the router contract, empty if there is none.
    """

    sources: Sources
    bounds: Bounds
    registry: CollectorRegistry
    hub: Hub
    sockets: Sockets
    channels: OrderChannels
    middleware: list[Middleware]
    router: str = ""


def create_app(deps: Deps) -> Starlette:
    """Return the application."""
    described = msgspec.json.encode(openapi.document())
    page = openapi.page()

    async def tell_health(_: Request) -> Response:
        return await health(deps)

    async def tell_metrics(_: Request) -> Response:
        return Response(metrics.render(deps.registry), media_type=metrics.CONTENT_TYPE)

    async def tell_openapi(_: Request) -> Response:
        return json_bytes_response(described)

    async def show_docs(_: Request) -> Response:
        return HTMLResponse(page, headers={"content-security-policy": PAGE_POLICY})

    async def ws(websocket: WebSocket) -> None:
        await converse(websocket, deps.sockets, deps.hub, deps.channels)

    return Starlette(
        routes=[
            Route("/health", tell_health),
            Route("/metrics", tell_metrics),
            Route("/openapi.json", tell_openapi),
            Route("/docs", show_docs),
            *Routes(deps.sources, deps.router).routes(),
            WebSocketRoute("/ws", ws),
        ],
        middleware=deps.middleware,
        exception_handlers=EXCEPTION_HANDLERS,
    )


async def health(deps: Deps) -> Response:
    """Return how it goes with the API, the database and the event processor: 200, or 503 if ill."""
    components: dict[str, object] = {
        "order_api": "HEALTHY",
        "timestamp": datetime.now(UTC).isoformat(),
        "websocket_connections": len(deps.sockets),
    }
    try:
        state = await deps.sources.scanner_state()
    except TransientError as error:
        components |= {
            "database": "UNHEALTHY",
            "database_connection": "FAILED",
            "database_error": str(error)[:200],
        }
        return _health(components, is_healthy=False)
    condition = judge(state, deps.bounds)
    components |= {"database": "HEALTHY", "database_connection": "WORKING"} | condition.facts
    return _health(components, is_healthy=condition.is_healthy)


def _health(components: dict[str, object], *, is_healthy: bool) -> Response:
    body = {
        "overall_status": "healthy" if is_healthy else "unhealthy",
        "components": components,
        "status": "success",
    }
    return json_response(body, 200 if is_healthy else 503)
