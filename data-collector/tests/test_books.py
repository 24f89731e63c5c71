# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from collections.abc import Callable

import pytest

from collector.binance.forms import Depth, DiffEvent
from collector.books import LiveBooks
from collector.surroundings import Surroundings
from linkora.errors import CorruptMessage


class Snapshots:
    """Gives one snapshot after the other."""

    def __init__(self, *depths: Depth) -> None:
        self._depths = list(depths)

    async def depth(self, symbol: str, limit: int) -> Depth:
        return self._depths.pop(0)


def live_books(make_around: Callable[..., Surroundings], *depths: Depth) -> LiveBooks:
    around = make_around(orderbook_levels=50)
    return LiveBooks(store=None, news=None, exchange=Snapshots(*depths), around=around)


def diff(number: int, quantity: str = "1") -> DiffEvent:
    return DiffEvent(E=number, s="X", U=number, u=number, b=[("10", quantity)], a=[])


GOOD = Depth(lastUpdateId=1, bids=[("10", "1")], asks=[("11", "1")])
BAD = Depth(lastUpdateId=1, bids=[("10", "1")], asks=[("11", "a lot")])


async def test_a_difference_that_cannot_be_read_makes_the_book_stale_until_a_new_snapshot(
    make_around,
):
    books = live_books(make_around, GOOD, Depth(3, GOOD.bids, GOOD.asks))
    books.on_diff(diff(1))
    await books.sync_once()
    assert books.states() == {"X": "synced"}
    with pytest.raises(CorruptMessage):
        books.on_diff(diff(2, "a lot"))
    assert books.states() == {"X": "stale"}
    books.on_diff(diff(3))
    await books.sync_once()
    assert books.states() == {"X": "synced"}


async def test_a_snapshot_that_cannot_be_read_is_asked_for_again(make_around):
    books = live_books(make_around, BAD, GOOD)
    books.on_diff(diff(1))
    await books.sync_once()
    assert books.states() == {"X": "syncing"}
    books.on_diff(diff(2))
    await books.sync_once()
    assert books.states() == {"X": "synced"}
