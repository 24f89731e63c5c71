# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The order book at any moment, and what changed between two moments.

The book lives on slots of 100 ms. Its touch comes from the last trade: a seller who took hit the
best bid, a buyer who took lifted the best ask, so the last price always lies within the touch.
Behind the touch, the price axis is cut into cells; each has one level at a fixed place and its
quantity is redrawn at its own pace, from every 3 seconds to every 7 minutes.
"""

from collections import OrderedDict
from typing import Protocol

import msgspec
import numpy as np

from simulator.market import Market
from simulator.randomness import Int64s, bits, derive_key, hash_positions
from simulator.symbols import ORIGIN_MS

SLOT_MS = 100
FULL_CELLS = 2_048
TOP_CELLS = 48
_WINDOW_STEP = 512  # the full window moves in steps, so that it rarely moves at all
_SLOWEST, _FASTEST = 12, 5  # a level lives 2**5 to 2**12 slots
_CELL_WIDTH = 0.00002  # of the price
_IDS_PER_SLOT = 32
_TOUCH_SLOTS = 1 << 20
_REMEMBERED_SLOTS = 4


class Book(msgspec.Struct, frozen=True):
    """An order book.

    Attributes:
        update_id: Id of the last change in it.
        bids: Two columns, ticks and lots, best (highest) first.
        asks: Two columns, ticks and lots, best (lowest) first.
    """

    update_id: int
    bids: Int64s
    asks: Int64s


class BookChange(msgspec.Struct, frozen=True):
    """What changed in a book: levels with their new quantities, 0 for those that are gone.

    Attributes:
        first_id: Id of the first change in it.
        last_id: Id of the last one.
        time_ms: When the last one happened.
        bids: Two columns, ticks and lots.
        asks: Two columns, ticks and lots.
    """

    first_id: int
    last_id: int
    time_ms: int
    bids: Int64s
    asks: Int64s


def merge_changes(changes: list[BookChange]) -> BookChange:
    """Return consecutive changes as one; of a level's quantities, the last one counts."""
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    for change in changes:
        bids.update(change.bids.tolist())
        asks.update(change.asks.tolist())
    return BookChange(
        changes[0].first_id,
        changes[-1].last_id,
        changes[-1].time_ms,
        np.array(sorted(bids.items(), reverse=True), np.int64).reshape(-1, 2),
        np.array(sorted(asks.items()), np.int64).reshape(-1, 2),
    )


class BookSource(Protocol):
    """Where a market's order book comes from: the generator below, or a recording."""

    def book(self, time_ms: int, depth: int) -> Book | None:
        """Return the best ``depth`` levels of each side, ``None`` before the first trade."""
        ...

    def changes(self, after_ms: int, until_ms: int) -> list[BookChange]:
        """Return the changes of (after, until], without holes in their ids."""
        ...

    def tops(self, after_ms: int, until_ms: int) -> list[Book]:
        """Return the books of depth one that (after, until] brought."""
        ...


class GeneratedBook:
    """A book as a pure function of time and the market's trades."""

    def __init__(self, market: Market, seed: str) -> None:
        name = market.symbol.name
        self._market = market
        self._place_key = derive_key(seed, name, "level place")
        self._size_key = derive_key(seed, name, "level size")
        self._touch_key = derive_key(seed, name, "touch size")
        self._id_key = derive_key(seed, name, "update id")
        self._cell_ticks = max(1, int(market.symbol.base_ticks * _CELL_WIDTH))
        self._mean_lots = market.symbol.mean_lots * 4.0
        self._full_sides: OrderedDict[tuple[int, int], tuple[Int64s, Int64s]]
        self._full_sides = OrderedDict()

    def book(self, time_ms: int, depth: int) -> Book | None:
        """Return the best ``depth`` levels of each side at the last slot."""
        slot = self._slot(time_ms)
        sides = self._sides(slot, TOP_CELLS if depth <= TOP_CELLS // 2 else FULL_CELLS)
        if sides is None:
            return None
        bids, asks = sides
        return Book(self._update_id(slot), bids[::-1][:depth], asks[:depth])

    def changes(self, after_ms: int, until_ms: int) -> list[BookChange]:
        """Return the changes of (after, until] as one, if there is a slot in between."""
        before, after = self._slot(after_ms), self._slot(until_ms)
        if after <= before:
            return []
        old, new = self._full(before), self._full(after)
        if old is None or new is None:
            return []
        first_id, last_id = self._update_id(before) + 1, self._update_id(after)
        bids, asks = _difference(old[0], new[0]), _difference(old[1], new[1])
        return [BookChange(first_id, last_id, after * SLOT_MS, bids[::-1], asks)]

    def tops(self, after_ms: int, until_ms: int) -> list[Book]:
        """Return the top of the last slot of (after, until], if there is a slot in between."""
        if self._slot(until_ms) <= self._slot(after_ms):
            return []
        top = self.book(until_ms, 1)
        return [top] if top else []

    def _slot(self, time_ms: int) -> int:
        """Return the slot whose book is valid at that moment; in an outage, the last one before."""
        return self._market.open_moment(time_ms) // SLOT_MS

    def _full(self, slot: int) -> tuple[Int64s, Int64s] | None:
        """Return the sides of the whole book, remembering the last few."""
        key = (slot, self._market.version)
        sides = self._full_sides.get(key)
        if sides is None:
            sides = self._sides(slot, FULL_CELLS)
            if sides is not None:
                self._full_sides[key] = sides
                if len(self._full_sides) > _REMEMBERED_SLOTS:
                    self._full_sides.popitem(last=False)
        return sides

    def _update_id(self, slot: int) -> int:
        slots = slot - ORIGIN_MS // SLOT_MS
        jitter = int(hash_positions(np.array([slots]), self._id_key)[0]) % (_IDS_PER_SLOT // 2)
        return slots * _IDS_PER_SLOT + jitter

    def _sides(self, slot: int, cells: int) -> tuple[Int64s, Int64s] | None:
        """Return bids and asks, both by rising price; bids and asks never meet."""
        trade = self._market.last_trade_before(slot * SLOT_MS + 1)
        if trade is None:
            return None
        price, spread = int(trade.prices[0]), int(trade.spreads[0])
        bid = price if trade.is_buyer_maker[0] else price - spread
        ask = bid + spread
        centre = bid // self._cell_ticks
        if cells == FULL_CELLS:
            centre = centre // _WINDOW_STEP * _WINDOW_STEP
        ticks, lots = self._levels(max(1, centre - cells), centre + cells, slot)
        touch = hash_positions(np.array([slot, slot + _TOUCH_SLOTS]), self._touch_key ^ bid)
        sizes = (bits(touch, 0, 20) ** 2 * self._mean_lots).astype(np.int64)
        sizes = 1 + 2 * sizes + (slot & 1)  # the touch changes in every slot
        low, high = np.searchsorted(ticks, bid), np.searchsorted(ticks, ask, side="right")
        bids = np.empty((int(low) + 1, 2), np.int64)
        bids[:-1, 0], bids[:-1, 1], bids[-1] = ticks[:low], lots[:low], (bid, sizes[0])
        asks = np.empty((len(ticks) - int(high) + 1, 2), np.int64)
        asks[1:, 0], asks[1:, 1], asks[0] = ticks[high:], lots[high:], (ask, sizes[1])
        if bid < 1:
            bids = bids[:0]
        return bids, asks

    def _levels(self, first_cell: int, end_cell: int, slot: int) -> tuple[Int64s, Int64s]:
        """Return price and quantity of the levels in the cells [first, end), by rising price."""
        cells = np.arange(first_cell, end_cell)
        places = hash_positions(cells, self._place_key)
        ticks = cells * self._cell_ticks + (places % np.uint64(self._cell_ticks)).astype(np.int64)
        life = (places >> np.uint64(40)) % np.uint64(_SLOWEST - _FASTEST + 1) + np.uint64(_FASTEST)
        epochs = (np.uint64(slot) + (places >> np.uint64(48))) >> life
        draws = hash_positions((cells << 32) ^ epochs.astype(np.int64), self._size_key)
        exists = draws & np.uint64(3) != 0
        size = bits(draws, 2, 20)
        lots = 1 + (size * size * self._mean_lots).astype(np.int64)
        return ticks[exists], lots[exists]


def _difference(old: Int64s, new: Int64s) -> Int64s:
    """Return the levels of ``new`` that ``old`` has not like that, and those gone with 0."""
    ticks = np.union1d(old[:, 0], new[:, 0])
    old_lots, new_lots = _lots_at(old, ticks), _lots_at(new, ticks)
    changed = old_lots != new_lots
    return np.column_stack([ticks[changed], new_lots[changed]])


def _lots_at(side: Int64s, ticks: Int64s) -> Int64s:
    lots = np.zeros(len(ticks), np.int64)
    lots[np.searchsorted(ticks, side[:, 0])] = side[:, 1]
    return lots
