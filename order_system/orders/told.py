# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the followers of this process may hold: orders, as they were told them. Pure.

After news was missed, these are the orders that may be gone or other ones by now. A process tells
many clients different things: a newcomer hears the present state while the others still hold an
older one. So an order may be held in several states, until all of its followers are told again.
"""

from collections.abc import Iterable

import msgspec

from orders.views import OrderView

_decoder = msgspec.json.Decoder(OrderView)


class Told:
    """Orders by id, each in every state that some follower may hold.

    Attributes:
        gaps: How many times news was missed: whoever read orders before and tells them after it
            tells old ones.
        is_complete: False once an order that somebody may hold had to be forgotten.
    """

    def __init__(self) -> None:
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
            if state not in known:
                self._states[order_id] = (*known, state)

    def replace(self, view: OrderView) -> None:
        """Note that everybody who may hold this order was told it as it is in ``view``."""
        self._states.pop(view.id, None)
        self._states[view.id] = (msgspec.json.encode(view),)

    def drop(self, order_id: int) -> None:
        """Note that nobody holds this order any more."""
        self._states.pop(order_id, None)

    def clear(self) -> None:
        """Note that nobody holds anything any more."""
        self._states.clear()
        self.is_complete = True
