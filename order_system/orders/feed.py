# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Order changes from Redis to the WebSockets of this process, and what a new follower hears first.

A client follows a topic made of a user and a status, each of which may be "all". An order that
leaves a status is told once more to those who follow that status, so that they can drop it.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
import structlog
from redis.asyncio import Redis

from linkora.backoff import retry
from linkora.channels import ORDERS_ALL
from linkora.dialog import Subscription
from linkora.errors import CorruptMessage, RequestError, TransientError
from linkora.hub import Frame, Hub
from linkora.pubsub import Subscribed, listen
from linkora.sockets import encode
from orders import params
from orders.lifecycle import Order
from orders.messages import OrderMessage, decode_order_message
from orders.params import OrderFilter, Page
from orders.rows import OrderPage, Token
from orders.views import OrderView, order_view

log = structlog.get_logger(__name__)

OPENING_LIMIT = 500
"""Orders that a new follower is told at first, the newest ones."""
REREAD_LIMIT = 1000
"""Events whose orders are read again after messages were missed, the newest ones."""


class OrderTopic(msgspec.Struct, frozen=True):
    """What a client follows; None for all."""

    user: str | None
    status: str | None


class Store(Protocol):
    """What is read for a client that has just come."""

    async def orders(self, chosen: OrderFilter, page: Page) -> OrderPage:
        """Return a page of orders."""


class Changed(Protocol):
    """What is read after messages were missed."""

    async def changed_lately(self, events: int) -> tuple[list[Order], dict[str, Token]]:
        """Return the orders of the newest events, by block and id, and their tokens."""


class OrderChannels:
    """What can be followed: the orders of one user or all, with one status or any."""

    def __init__(self, store: Store, router: str = "") -> None:
        self._store = store
        self._router = router

    def from_url(self, query: Mapping[str, str]) -> Subscription | None:
        """Return what the URL asks for; ``?type=none`` opens a socket without a subscription."""
        if query.get("type") == "none":
            return None
        return self._subscription(query)

    def from_message(self, channel: dict[str, Any]) -> Subscription:
        """Return what a message asks for."""
        return self._subscription({k: str(v) for k, v in channel.items() if v is not None})

    async def opening(self, subscription: Subscription) -> list[Frame]:
        """Return the present orders, oldest first, as the same messages that changes come in."""
        topic = subscription.topic
        assert isinstance(topic, OrderTopic)  # noqa: S101 - it is one of ours
        found = await self._store.orders(
            OrderFilter(topic.status, topic.user),  # type: ignore[arg-type]
            Page(limit=OPENING_LIMIT),
        )
        views = [order_view(order, found.tokens, self._router) for order in reversed(found.orders)]
        return [frame_of(view, is_removed=False) for view in views]

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


class Feed:
    """Tells the hub's followers what is published.

    Args:
        redis: Where it is published.
        store: Read when messages were missed.
        hub: Who follows what.
        on_redis: Told the last trouble with Redis, None while there is none.
        router: Address of the router contract, empty if there is none.
    """

    def __init__(
        self,
        redis: Redis,
        store: Changed,
        hub: Hub,
        on_redis: Callable[[TransientError | None], None],
        router: str = "",
    ) -> None:
        self._redis = redis
        self._store = store
        self._hub = hub
        self._on_redis = on_redis
        self._router = router
        self._place: tuple[int, int] | None = None
        self._statuses: dict[int, str] = {}

    async def run(self) -> None:
        """Relay what is published, for ever; after a gap, tell again what changed last."""
        async for payload in listen(self._redis, [ORDERS_ALL], on_error=self._on_redis):
            if isinstance(payload, Subscribed):
                self._on_redis(None)
                await self._tell_again()
                continue
            try:
                message = decode_order_message(payload)
            except CorruptMessage as error:
                log.warning("message_corrupt", reason=str(error)[:200])
                continue
            if self._has_hole(message):
                await self._tell_again()
            self.tell(message.order, is_removed=message.is_removed)

    def tell(self, view: OrderView, *, is_removed: bool) -> None:
        """Tell one order to whoever follows it."""
        frame: Frame | None = None
        for topic in self._topics(view):
            if self._hub.has_followers(topic):
                frame = frame or frame_of(view, is_removed=is_removed)
                self._hub.publish_final(topic, frame)
        self._remember(view, is_removed=is_removed)

    def _topics(self, view: OrderView) -> list[OrderTopic]:
        before = self._statuses.get(view.id, "PENDING")
        statuses = {None, view.status, before}
        return [OrderTopic(user, s) for user in (None, view.user_address) for s in statuses]

    def _remember(self, view: OrderView, *, is_removed: bool) -> None:
        """Keep the status of orders that a reorg may still bring back to another one."""
        self._statuses.pop(view.id, None)
        if not is_removed:
            self._statuses[view.id] = view.status
            if len(self._statuses) > REREAD_LIMIT * 10:
                del self._statuses[next(iter(self._statuses))]

    def _has_hole(self, message: OrderMessage) -> bool:
        last, self._place = self._place, (message.epoch, message.seq)
        return last is not None and last != (message.epoch, message.seq - 1)

    async def _tell_again(self) -> None:
        """Tell the orders that changed last as they are now: some of that was missed.

        While the database is away this waits for it, and no news is read: none told later than
        what is read here may be told before it.
        """
        if not self._hub.count():
            return
        orders, tokens = await retry(
            lambda: self._store.changed_lately(REREAD_LIMIT),
            on_error=lambda error: log.warning("orders_not_reread", reason=str(error)),
        )
        for order in orders:
            self.tell(order_view(order, tokens, self._router), is_removed=False)
            await asyncio.sleep(0)


def frame_of(view: OrderView, *, is_removed: bool) -> Frame:
    """Return the message that tells an order."""
    return encode({"type": "order", "is_removed": is_removed, "order": view})
