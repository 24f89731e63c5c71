# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A deep order book kept from a snapshot and the differences after it. Pure.

The exchange's procedure for a local book (its WebSocket documentation): buffer the differences,
take a snapshot, drop what it includes, apply the rest in order without a hole. A difference that
overlaps is applied; one that begins after the next number means that some are missing.

A snapshot shows a limited number of levels. Beyond its outermost price only levels that change
become known, so the book asks for a new snapshot well before its best levels reach that edge; until
that comes it goes on as the exchange's procedure does.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from enum import Enum

from collector.binance.forms import Depth, DiffEvent
from collector.binance.wire import number
from linkora.market import Level, OrderBook

MAX_RECENT = 1_000


class BookState(Enum):
    """Whether the book can be believed."""

    SYNCING = "syncing"
    SYNCED = "synced"
    STALE = "stale"


class Side:
    """The levels of one side, best first by ``sign * price``: -1 for bids, 1 for asks."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[Decimal] = []
        self._quantities: dict[Decimal, Decimal] = {}
        self._edge: Decimal | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def load(self, levels: Iterable[tuple[str, str]], *, is_whole: bool) -> None:
        """Replace all levels by a snapshot's; ``is_whole`` if it left none out."""
        self._quantities = {
            self._sign * number(price): number(quantity) for price, quantity in levels
        }
        self._keys = sorted(self._quantities)
        self._edge = None if is_whole or not self._keys else self._keys[-1]

    def set(self, price: str, quantity: str) -> None:
        """Set a level's absolute amount; zero removes it, known or not."""
        key, amount = self._sign * number(price), number(quantity)
        if not amount:
            if self._quantities.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
            return
        if key not in self._quantities:
            insort(self._keys, key)
        self._quantities[key] = amount

    def trim(self, most: int) -> None:
        """Keep the best ``most`` levels; what is beyond is unknown from now on."""
        for key in self._keys[most:]:
            del self._quantities[key]
        del self._keys[most:]
        self._edge = self._keys[-1] if self._edge is None else min(self._edge, self._keys[-1])

    def best(self, count: int) -> tuple[Level, ...]:
        """Return the best ``count`` levels, best first."""
        return tuple(Level(self._sign * key, self._quantities[key]) for key in self._keys[:count])

    def has(self, count: int) -> bool:
        """Return whether the best ``count`` levels lie within what the snapshot showed."""
        return self._edge is None or bisect_right(self._keys, self._edge) >= count


class DiffBook:
    """One symbol's book.

    Args:
        levels: How many levels a side are wanted; a new snapshot is asked for well before
            fewer are known.
        snapshot_limit: How many levels a side a snapshot is asked for, more than twice as many.
    """

    def __init__(self, levels: int, snapshot_limit: int) -> None:
        self._levels = levels
        self._snapshot_limit = snapshot_limit
        self._bids = Side(-1)
        self._asks = Side(1)
        # The newest differences, without a hole: applied or waiting, all of them join a snapshot.
        self._recent: deque[DiffEvent] = deque(maxlen=MAX_RECENT)
        self.last_update_id = 0
        self.event_ms = 0
        self.state = BookState.SYNCING

    @property
    def needs_snapshot(self) -> bool:
        """True when only a snapshot can make or keep the book whole, and one can be joined."""
        margin = 2 * self._levels
        is_whole = self._bids.has(margin) and self._asks.has(margin)
        return bool(self._recent) and not (self.state is BookState.SYNCED and is_whole)

    def lose(self) -> None:
        """Note that differences may be missing from here on."""
        self.state = BookState.STALE if self.last_update_id else BookState.SYNCING
        self._recent.clear()

    def apply(self, event: DiffEvent) -> None:
        """Take the next difference: applied at once if the book is whole, else kept for it."""
        if self._recent:
            if event.u <= self._recent[-1].u:
                return
            if self._recent[-1].u + 1 < event.U:
                self.lose()
        self._recent.append(event)
        if self.state is BookState.SYNCED and event.u > self.last_update_id:
            self._set(event)

    def load(self, snapshot: Depth) -> bool:
        """Take a snapshot and the differences after it.

        Returns:
            False if the snapshot is too old to be joined by what was heard: ask again.
        """
        if not self._recent or snapshot.lastUpdateId + 1 < self._recent[0].U:
            return False
        self._bids.load(snapshot.bids, is_whole=len(snapshot.bids) < self._snapshot_limit)
        self._asks.load(snapshot.asks, is_whole=len(snapshot.asks) < self._snapshot_limit)
        self.last_update_id = snapshot.lastUpdateId
        # A snapshot names no time. What was heard before it arrived is the best that is known.
        self.event_ms = self._recent[-1].E
        self.state = BookState.SYNCED
        for event in self._recent:
            if event.u > self.last_update_id:
                self._set(event)
        return True

    def book(self, symbol: str) -> OrderBook:
        """Return the best levels as they are now."""
        return OrderBook(
            symbol=symbol,
            timestamp_ms=self.event_ms,
            last_update_id=self.last_update_id,
            bids=self._bids.best(self._levels),
            asks=self._asks.best(self._levels),
        )

    def _set(self, event: DiffEvent) -> None:
        for price, quantity in event.b:
            self._bids.set(price, quantity)
        for price, quantity in event.a:
            self._asks.set(price, quantity)
        self.last_update_id = event.u
        self.event_ms = event.E
        for side in (self._bids, self._asks):
            if len(side) > 2 * self._snapshot_limit:
                side.trim(self._snapshot_limit)
