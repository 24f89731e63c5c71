# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The order API as an ASGI application."""

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
from linkora.http import EXCEPTION_HANDLERS, json_bytes_response, json_response
from linkora.hub import Hub
from linkora.sockets import Sockets
from orders import openapi
from orders.rest import Reads, Routes
from orders.standing import Standing
from orders.subscriptions import OrderChannels

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


class Deps(msgspec.Struct, frozen=True):
    """What the routes use.

    Attributes:
        sources: Reads of the database.
        standing: How it goes with the neighbours.
        registry: The metrics to tell.
        hub: Who follows what.
        sockets: The open WebSockets.
        channels: What can be followed.
        middleware: What stands before every route.
        router: Address of the router contract, empty if there is none.
    """

    sources: Reads
    standing: Standing
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
        is_well, body = await deps.standing.report()
        return json_response(body, 200 if is_well else 503)

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
