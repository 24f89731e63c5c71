# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What clients ask to follow, and what a new follower hears first: the present orders."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from linkora.dialog import Subscription
from linkora.errors import RequestError
from linkora.hub import Frame
from linkora.sockets import encode
from orders import params
from orders.openings import SharedReads
from orders.params import OrderFilter, Page
from orders.rows import OrderPage
from orders.told import Told
from orders.topics import OrderTopic
from orders.views import OrderView, order_view

OPENING_LIMIT = 500
"""Orders that a new follower is told at first, the newest ones."""


class Opening(msgspec.Struct, frozen=True):
    """What a new follower is told first: the messages, and the same as ids and encoded views."""

    frames: list[Frame]
    views: list[tuple[int, bytes]]


class Store(Protocol):
    """What is read for a client that has just come."""

    async def orders(self, chosen: OrderFilter, page: Page) -> OrderPage:
        """Return a page of orders."""


class OrderChannels:
    """What can be followed: the orders of one user or all, with one status or any."""

    def __init__(self, store: Store, told: Told, router: str = "") -> None:
        self._store = store
        self._told = told
        self._router = router
        self._reads: SharedReads[Opening] = SharedReads()

    def from_url(self, query: Mapping[str, str]) -> Subscription | None:
        """Return what the URL asks for; ``?type=none`` opens a socket without a subscription."""
        if query.get("type") == "none":
            return None
        return self._subscription(query)

    def from_message(self, channel: dict[str, Any]) -> Subscription:
        """Return what a message asks for."""
        return self._subscription({k: str(v) for k, v in channel.items() if v is not None})

    async def opening(self, subscription: Subscription) -> list[Frame]:
        """Return the present orders, oldest first, as the same messages that changes come in.

        Who asks has joined the topic before, so that no change falls between. If news was missed
        meanwhile, what was read may be from before the gap: then it is read again.
        """
        topic = subscription.topic
        assert isinstance(topic, OrderTopic)  # noqa: S101 - it is one of ours
        while True:
            gaps = self._told.gaps
            opening = await self._reads.get(topic, lambda: self._read(topic))
            if gaps == self._told.gaps:
                self._told.add(opening.views)
                return opening.frames

    async def _read(self, topic: OrderTopic) -> Opening:
        found = await self._store.orders(
            OrderFilter(topic.status, topic.user),  # type: ignore[arg-type]
            Page(limit=OPENING_LIMIT),
        )
        views = [order_view(order, found.tokens, self._router) for order in reversed(found.orders)]
        return Opening(
            [frame_of(view, is_removed=False) for view in views],
            [(view.id, msgspec.json.encode(view)) for view in views],
        )

    def _subscription(self, query: Mapping[str, str]) -> Subscription:
        if query.get("type", "orders") != "orders":
            raise RequestError(400, "Invalid type. Supported: ['orders']")
        user = query.get("user", "").strip()
        address = None if not user or user.lower() == "all" else params.address(user)
        status = params.status(query)
        return Subscription(
            topic=OrderTopic(address, status),
            channel={"type": "orders", "user": address or "all", "status": status or "all"},
        )


def frame_of(view: OrderView, *, is_removed: bool) -> Frame:
    """Return the message that tells an order."""
    return encode({"type": "order", "is_removed": is_removed, "order": view})
