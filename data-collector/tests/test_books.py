# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
from collections.abc import Callable, Sequence

import pytest

from collector.binance.forms import Depth, DiffEvent
from collector.books import LiveBooks
from collector.surroundings import Surroundings
from linkora.errors import CorruptMessage
from linkora.market import OrderBook
from testkit.services import meanwhile, until


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


class Kept:
    """Remembers what was stored and told."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.times_ms: list[int] = []

    async def store(self, books: Sequence[OrderBook]) -> None:
        self.numbers += [book.last_update_id for book in books]
        self.times_ms += [book.timestamp_ms for book in books]

    async def books(self, books: Sequence[OrderBook]) -> None: ...


async def test_a_book_polled_while_the_stream_was_away_is_not_told_again_after_it(make_around):
    around = make_around(orderbook_levels=50, orderbook_update_interval=0.01)
    kept = Kept()
    snapshots = Snapshots(Depth(20, GOOD.bids, GOOD.asks))
    books = LiveBooks(store=kept, news=kept, exchange=snapshots, around=around)
    async with meanwhile(books.store_and_tell()):
        books.on_depth("X", Depth(10, GOOD.bids, GOOD.asks))
        await until(lambda: kept.numbers == [10])
        books.on_diff(diff(20))
        await books.sync_once()
        await until(lambda: 20 in kept.numbers)
        for number in range(21, 24):
            books.on_diff(diff(number, str(number)))
            await until(lambda number=number: number in kept.numbers)
        await asyncio.sleep(0.1)
    assert kept.numbers == [10, 20, 21, 22, 23]
    assert kept.times_ms[1:] == [20, 21, 22, 23]
