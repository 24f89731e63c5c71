# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The ASGI application: which path leads where."""

import msgspec
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from linkora.dialog import converse
from linkora.health import Health
from linkora.http import EXCEPTION_HANDLERS, observability_routes
from linkora.hub import Hub
from linkora.sockets import Sockets
from marketdata.binance_dialect import speak_binance
from marketdata.rest import Rest
from marketdata.websocket import MarketChannels


class Deps(msgspec.Struct, frozen=True):
    """What the routes use."""

    rest: Rest
    hub: Hub
    sockets: Sockets
    channels: MarketChannels
    health: Health
    registry: CollectorRegistry
    middleware: list[Middleware]
    doors: list[Route]
    page: list[BaseRoute]


def create_app(deps: Deps) -> Starlette:
    """Return the application."""

    async def ws(websocket: WebSocket) -> None:
        await converse(websocket, deps.sockets, deps.hub, deps.channels)

    async def binance(websocket: WebSocket) -> None:
        await speak_binance(websocket, deps.sockets, deps.hub)

    return Starlette(
        routes=[
            Route("/candles", deps.rest.candles),
            Route("/price", deps.rest.price),
            Route("/orderbook", deps.rest.order_book),
            Route("/symbols", deps.rest.symbols),
            Route("/trades/{symbol}", deps.rest.trades),
            Route("/gaps", deps.rest.gaps),
            *observability_routes(deps.health, deps.registry),
            WebSocketRoute("/ws", ws),
            WebSocketRoute("/binance/ws", binance),
            WebSocketRoute("/binance/ws/{stream:path}", binance),
            WebSocketRoute("/binance/stream", binance),
            *deps.doors,
            *deps.page,
        ],
        middleware=deps.middleware,
        exception_handlers=EXCEPTION_HANDLERS,
    )
