# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the followers of this process may hold: orders, as they were told them. Pure.

After news was missed, these are the orders that may be gone or other ones by now. A process tells
many clients different things: a newcomer hears the present state while the others still hold an
older one. So an order may be held in several states, until all of its followers are told again.
"""

from collections.abc import Iterable

import msgspec

from linkora.hub import Hub
from orders.topics import topics_of
from orders.views import OrderView

HELD_LIMIT = 20_000
"""States of orders that are remembered because followers may hold them: some 25 MB."""
_decoder = msgspec.json.Decoder(OrderView)


class Told:
    """Orders by id, each in every state that some follower may hold; a bounded number of states.

    Args:
        hub: Who follows what.
        limit: The most states; those of orders unheard of for longest are forgotten.

    Attributes:
        gaps: How many times news was missed: whoever read orders before and tells them after it
            tells old ones.
        is_complete: False once an order that somebody may hold had to be forgotten.
    """

    def __init__(self, hub: Hub, limit: int = HELD_LIMIT) -> None:
        self._hub = hub
        self._limit = limit
        self._count = 0
        self._states: dict[int, tuple[bytes, ...]] = {}
        self.gaps = 0
        self.is_complete = True

    def __len__(self) -> int:
        return len(self._states)

    def ids(self) -> list[int]:
        """Return the ids of the orders that are held, the longest unheard one first."""
        return list(self._states)

    def states(self, order_id: int) -> list[OrderView]:
        """Return the states in which somebody may hold an order."""
        return [_decoder.decode(state) for state in self._states.get(order_id, ())]

    def is_just(self, view: OrderView) -> bool:
        """Return whether whoever holds this order holds it as it is in ``view``."""
        return self._states.get(view.id) == (msgspec.json.encode(view),)

    def add(self, views: Iterable[tuple[int, bytes]]) -> None:
        """Note that somebody was told these orders, given as id and encoded view."""
        for order_id, state in views:
            known = self._states.get(order_id, ())
            if state in known:
                continue
            self._states[order_id] = (*known, state)
            self._count += 1
        self._trim()

    def replace(self, view: OrderView) -> None:
        """Note that everybody who may hold this order was told it as it is in ``view``."""
        self.drop(view.id)
        self._count += 1
        self._states[view.id] = (msgspec.json.encode(view),)
        self._trim()

    def drop(self, order_id: int) -> None:
        """Note that nobody holds this order any more."""
        self._count -= len(self._states.pop(order_id, ()))

    def clear(self) -> None:
        """Note that nobody holds anything any more."""
        self._states.clear()
        self._count = 0
        self.is_complete = True

    def _trim(self) -> None:
        """Forget what is too much: never more than was added just before."""
        while self._count > self._limit:
            order_id = next(iter(self._states))
            if self.is_complete and any(self._is_followed(s) for s in self.states(order_id)):
                self.is_complete = False
            self.drop(order_id)

    def _is_followed(self, state: OrderView) -> bool:
        topics = topics_of(state.user_address, {state.status})
        return any(self._hub.has_followers(topic) for topic in topics)
