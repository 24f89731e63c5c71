# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The order API's routes: parameters in, views out."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from linkora.errors import RequestError
from linkora.http import json_response
from orders import params
from orders.lifecycle import Order, OrderStatus, Position
from orders.params import OrderFilter, Page
from orders.rows import OrderEvent, OrderPage, Token
from orders.views import event_data_view, iso, order_view, position_view

MAX_EVENTS = 1000
"""Events of one order in an answer; ``total`` tells if there are more."""


class Reads(Protocol):
    """What the routes need of the database."""

    async def orders(self, chosen: OrderFilter, page: Page) -> OrderPage:
        """Return a page of orders."""

    async def order(self, order_id: int) -> tuple[Order, dict[str, Token]] | None:
        """Return an order and its tokens."""

    async def events(
        self, order_id: int, limit: int
    ) -> tuple[list[OrderEvent], int, Order | None, dict[str, Token]]:
        """Return an id's first events, their number, its order and that one's tokens."""

    async def positions(
        self, user: str, page: Page
    ) -> tuple[list[Position], int, dict[str, Token]]:
        """Return a page of positions, their number and their tokens."""

    async def statistics(self, since: datetime) -> dict[str, tuple[int, int]]:
        """Return numbers by status, in all and created since."""


class Routes:
    """The routes that read orders and positions."""

    def __init__(self, reads: Reads, router: str = "") -> None:
        self._reads = reads
        self._router = router

    def routes(self) -> list[Route]:
        """Return the routes; ``/orders/{id}`` comes after the lists."""
        return [
            Route("/orders/pending", self._list_of("PENDING")),
            Route("/orders/executed", self._list_of("EXECUTED")),
            Route("/orders/cancelled", self._list_of("CANCELLED")),
            Route("/orders/all", self._list_of(None)),
            Route("/orders/{order_id}", self.order),
            Route("/orders/{order_id}/events", self.events),
            Route("/users/{address}/orders", self.user_orders),
            Route("/users/{address}/positions", self.user_positions),
            Route("/statistics", self.statistics),
        ]

    def _list_of(self, status: OrderStatus | None) -> Any:
        async def list_orders(request: Request) -> Response:
            wanted = status or params.status(request.query_params)
            return await self._list(OrderFilter(wanted), params.page(request.query_params))

        return list_orders

    async def user_orders(self, request: Request) -> Response:
        """Answer a user's orders."""
        user = params.address(request.path_params["address"])
        wanted = params.status(request.query_params)
        return await self._list(OrderFilter(wanted, user), params.page(request.query_params))

    async def _list(self, chosen: OrderFilter, page: Page) -> Response:
        found = await self._reads.orders(chosen, page)
        shown = [order_view(order, found.tokens, self._router) for order in found.orders]
        return json_response(
            {
                "orders": shown,
                "total": found.total,
                "limit": page.limit,
                "offset": page.offset,
                "has_more": found.has_more,
                "next_cursor": _cursor_of(found.orders[-1]) if found.orders else None,
                "status": "success",
            }
        )

    async def order(self, request: Request) -> Response:
        """Answer one order."""
        order_id = params.order_id(request.path_params["order_id"])
        found = await self._reads.order(order_id)
        if found is None:
            raise RequestError(404, f"Order {order_id} not found")
        return json_response({"order": order_view(*found, self._router), "status": "success"})

    async def events(self, request: Request) -> Response:
        """Answer the events of an order, oldest first, orphan ones included."""
        order_id = params.order_id(request.path_params["order_id"])
        events, total, order, tokens = await self._reads.events(order_id, MAX_EVENTS)
        if order is None and not events:
            raise RequestError(404, f"Order {order_id} not found")
        shown = [
            {
                "event_type": event.event_type,
                "old_status": event.old_status,
                "new_status": event.new_status,
                "tx_hash": event.tx_hash,
                "block_number": event.block_number,
                "log_index": event.log_index,
                "timestamp": iso(event.time_s),
                "event_data": event_data_view(event.data, order, tokens),
            }
            for event in events
        ]
        return json_response(
            {"order_id": order_id, "events": shown, "total": total, "status": "success"}
        )

    async def user_positions(self, request: Request) -> Response:
        """Answer a user's positions, newest first."""
        user = params.address(request.path_params["address"])
        page = params.page(request.query_params)
        positions, total, tokens = await self._reads.positions(user, page)
        return json_response(
            {
                "positions": [position_view(position, tokens) for position in positions],
                "total": total,
                "limit": page.limit,
                "offset": page.offset,
                "has_more": page.offset + len(positions) < total,
                "status": "success",
            }
        )

    async def statistics(self, _: Request) -> Response:
        """Answer how many orders there are by status, in all and created in the last 24 hours."""
        since = datetime.fromtimestamp(time.time(), UTC) - timedelta(hours=24)
        counts = await self._reads.statistics(since)
        shown = {
            status: {"total": total, "last_24h": last_24h}
            for status, (total, last_24h) in counts.items()
        }
        return json_response({"statistics": shown, "status": "success"})


def _cursor_of(order: Order) -> str:
    return f"{order.block_number}-{order.id}"
