# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Tells committed changes on Redis: a full order each, in the order of the commits.

Nothing waits for Redis: changes queue up to a bound while it is away, then the oldest are dropped.
What Redis did not take is published again under new numbers, so that readers see a hole and then
all of it: a message is a whole order, and to hear it twice does no harm. The numbers of
those that are dropped are left out, too.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import structlog

from linkora.backoff import Backoff
from linkora.channels import ORDERS_ALL
from linkora.errors import TransientError
from linkora.messages import Position
from linkora.pubsub import Publisher
from orders.messages import encode_order_message
from orders.outcomes import Change
from orders.rows import Token
from orders.views import order_view

log = structlog.get_logger(__name__)

QUEUE_LIMIT = 20_000
BATCH = 500


class News:
    """The queue between commits and Redis.

    Args:
        publisher: The channel's one publisher.
        tokens: Returns the known tokens by address, for scaling.
        on_state: Told the publisher's last error, None while it works.
        router: Address of the router contract, empty if there is none.
    """

    def __init__(
        self,
        publisher: Publisher,
        tokens: Callable[[], Mapping[str, Token]],
        on_state: Callable[[TransientError | None], None],
        router: str = "",
    ) -> None:
        self._publisher = publisher
        self._tokens = tokens
        self._on_state = on_state
        self._router = router
        self._queue: deque[Change] = deque()
        self._arrived = asyncio.Event()

    def tell(self, changes: Sequence[Change]) -> None:
        """Queue changes; returns at once."""
        self._queue.extend(changes)
        self._drop_oldest()
        if changes:
            self._arrived.set()

    async def run(self) -> None:
        """Publish what is queued, for ever."""
        backoff = Backoff()
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                try:
                    await self._publisher.publish([(ORDERS_ALL, self._encoder(c)) for c in batch])
                except TransientError as error:
                    self._queue.extendleft(reversed(batch))
                    self._drop_oldest()
                    self._on_state(error)
                    await asyncio.sleep(backoff.next_delay_s(error.retry_after_s))
                else:
                    backoff.reset()
                    self._on_state(None)

    def _drop_oldest(self) -> None:
        excess = max(0, len(self._queue) - QUEUE_LIMIT)
        for _ in range(excess):
            self._queue.popleft()
            self._publisher.skip(ORDERS_ALL)
        if excess:
            log.warning("news_dropped", count=excess)

    def _encoder(self, change: Change) -> Callable[[Position], bytes]:
        order = change.order
        view = None if order is None else order_view(order, self._tokens(), self._router)

        def encode(position: Position) -> bytes:
            return encode_order_message(view, position, is_removed=change.is_removed)

        return encode
