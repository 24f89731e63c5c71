# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Order changes from Redis to the WebSockets of this process.

A client follows a topic made of a user and a status, each of which may be "all". An order that
leaves a status is told once more to those who follow that status, so that they can drop it.
After a gap in the news, `orders.told` knows what may have to be taken back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

import structlog
from redis.asyncio import Redis

from linkora.backoff import retry
from linkora.channels import ORDERS_ALL
from linkora.errors import CorruptMessage, TransientError
from linkora.hub import Frame, Hub
from linkora.pubsub import Subscribed, listen
from orders.lifecycle import Order
from orders.messages import OrderMessage, decode_order_message
from orders.rows import Token
from orders.subscriptions import frame_of
from orders.told import Told
from orders.topics import topics_of
from orders.views import OrderView, order_view

log = structlog.get_logger(__name__)

T = TypeVar("T")
Reread: TypeAlias = tuple[list[Order], dict[str, Token]]

REREAD_LIMIT = 1000
"""Messages that may be missing: more, and all followers begin anew. Twice as many orders are read
again, those that changed last: as many may have been committed meanwhile, their news on the way."""
PAGE = 1000
"""Orders that followers may hold, read again at once."""


class Changed(Protocol):
    """What is read after messages were missed."""

    async def changed_lately(self, most: int) -> Reread | None:
        """Return the orders that changed last, by block and id, and their tokens.

        None if it would be too much to look for as many.
        """

    async def orders_by_id(self, ids: Sequence[int]) -> tuple[list[Order], dict[str, Token]]:
        """Return those of the orders that there are, by id, and their tokens."""


class Feed:
    """Tells the hub's followers what is published.

    Args:
        redis: Where it is published.
        store: Read when messages were missed.
        hub: Who follows what.
        told: What they may hold.
        on_redis: Told the last trouble with Redis, None while there is none.
        begin_anew: Ends all followers, so that they come again and begin with nothing: called
            when more was missed than can be told.
        router: Address of the router contract, empty if there is none.
    """

    def __init__(
        self,
        redis: Redis,
        store: Changed,
        hub: Hub,
        told: Told,
        on_redis: Callable[[TransientError | None], None],
        begin_anew: Callable[[], None],
        router: str = "",
    ) -> None:
        self._redis = redis
        self._store = store
        self._hub = hub
        self._told = told
        self._on_redis = on_redis
        self._begin_anew = begin_anew
        self._router = router
        self._place: tuple[int, int] | None = None
        self._has_just_read = False

    async def run(self) -> None:
        """Relay what is published, for ever; after a gap, tell again what changed meanwhile."""
        async for payload in listen(self._redis, [ORDERS_ALL], on_error=self._on_redis):
            if isinstance(payload, Subscribed):
                self._on_redis(None)
                await self._tell_again()
                self._has_just_read = True
                continue
            try:
                message = decode_order_message(payload)
            except CorruptMessage as error:
                log.warning("message_corrupt", reason=str(error)[:200])
                continue
            await self._take(message)

    async def _take(self, message: OrderMessage) -> None:
        """Tell a message first and then what was missed before it: what is read is newer."""
        missed = self._missed(message)
        if message.order is not None:
            self.tell(message.order, is_removed=message.is_removed)
        if missed > REREAD_LIMIT:
            self._told.is_complete = False
            await self._tell_again()
        elif message.order is None or (missed and not self._has_just_read):
            await self._tell_again()
        self._has_just_read = False  # what was missed while Redis was away was committed before

    def tell(self, view: OrderView, *, is_removed: bool) -> None:
        """Tell one order to whoever follows it, or may hold it in another state."""
        held = self._told.states(view.id)
        for state in held:
            if state.user_address != view.user_address:  # after a reorg, ids may be others' orders
                self._publish(state, {state.status}, is_removed=True)
        statuses = {view.status, *(state.status for state in held)}
        is_followed = self._publish(view, statuses, is_removed=is_removed)
        if is_removed or not is_followed:
            self._told.drop(view.id)
        else:
            self._told.replace(view)

    def _publish(self, view: OrderView, statuses: set[str], *, is_removed: bool) -> bool:
        frame: Frame | None = None
        for topic in topics_of(view.user_address, statuses):
            if self._hub.has_followers(topic):
                frame = frame or frame_of(view, is_removed=is_removed)
                self._hub.publish_final(topic, frame)
        return frame is not None

    def _missed(self, message: OrderMessage) -> int:
        """Return how many messages are missing before this one, at least."""
        last, self._place = self._place, (message.epoch, message.seq)
        if last is None or last == (message.epoch, message.seq - 1):
            return 0
        return max(1, message.seq - 1 - (last[1] if last[0] == message.epoch else 0))

    async def _tell_again(self) -> None:
        """Tell what has changed, and what is gone, of all that somebody may hold.

        While the database is away this waits for it, and no news is read: what is told later was
        told before, or is newer.
        """
        self._told.gaps += 1
        if not self._told.is_complete:
            self._end_all()
        elif not self._hub.count():
            self._told.clear()
        else:
            await self._tell_what_may_be_held()
            found = await self._reread(lambda: self._store.changed_lately(2 * REREAD_LIMIT))
            if found is None:
                self._end_all()
            else:  # some may hold none of it
                await self._tell_all(*found, is_change=lambda _: True)

    def _end_all(self) -> None:
        log.warning("sockets_begin_anew", reason="more was missed than can be told")
        self._begin_anew()
        self._told.clear()

    async def _tell_what_may_be_held(self) -> None:
        ids = self._told.ids()
        for start in range(0, len(ids), PAGE):
            part = ids[start : start + PAGE]
            orders, tokens = await self._reread(lambda part=part: self._store.orders_by_id(part))  # type: ignore[misc]
            for gone in set(part) - {order.id for order in orders}:
                for state in self._told.states(gone)[:1]:  # which tells who holds the others, too
                    self.tell(state, is_removed=True)
            await self._tell_all(orders, tokens, is_change=self._is_change)

    def _is_change(self, view: OrderView) -> bool:
        return not self._told.is_just(view)

    async def _tell_all(
        self, orders: list[Order], tokens: dict[str, Token], is_change: Callable[[OrderView], bool]
    ) -> None:
        for order in orders:
            view = order_view(order, tokens, self._router)
            if is_change(view):
                self.tell(view, is_removed=False)
            await asyncio.sleep(0)

    async def _reread(self, read: Callable[[], Awaitable[T]]) -> T:
        return await retry(
            read, on_error=lambda error: log.warning("orders_not_reread", reason=str(error))
        )
