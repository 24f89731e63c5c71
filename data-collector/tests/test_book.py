# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import gzip
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from collector.binance.forms import Depth, DiffEvent, Envelope
from collector.binance.wire import decode
from collector.book import BookState, DiffBook
from testkit.recorded import recorded


def diff(first: int, last: int, bids=(), asks=()) -> DiffEvent:
    return DiffEvent(E=last, s="X", U=first, u=last, b=list(bids), a=list(asks))


def snapshot(number: int, bids=(("9", "1"),), asks=(("11", "1"),)) -> Depth:
    return Depth(lastUpdateId=number, bids=list(bids), asks=list(asks))


def synced(**kwargs) -> DiffBook:
    book = DiffBook(levels=2, snapshot_limit=10)
    book.apply(diff(100, 101))
    assert book.load(snapshot(100, **kwargs))
    return book


def best(book: DiffBook) -> tuple[Decimal, Decimal]:
    told = book.book("X")
    return told.bids[0].price, told.asks[0].price


def test_a_snapshot_older_than_the_first_difference_is_asked_for_again():
    book = DiffBook(levels=2, snapshot_limit=10)
    assert not book.needs_snapshot
    book.apply(diff(100, 101))
    assert book.needs_snapshot
    assert not book.load(snapshot(98))
    assert book.load(snapshot(99))
    assert book.last_update_id == 101


def test_differences_that_the_snapshot_includes_are_dropped():
    book = DiffBook(levels=2, snapshot_limit=10)
    book.apply(diff(100, 101, bids=[("9.5", "7")]))
    book.apply(diff(102, 103, asks=[("10.5", "1")]))
    book.load(snapshot(101))
    assert best(book) == (Decimal(9), Decimal("10.5"))


def test_a_book_is_never_older_than_what_was_heard_before_its_snapshot():
    """A snapshot has no time, and includes all that was heard before it more often than not."""
    book = DiffBook(levels=2, snapshot_limit=10)
    book.apply(diff(100, 101))
    book.apply(diff(102, 103))
    assert book.load(snapshot(200))
    assert book.book("X").timestamp_ms == 103


def test_an_overlapping_difference_is_applied():
    book = synced()
    book.apply(diff(99, 105, bids=[("9.9", "3")]))
    assert book.state is BookState.SYNCED
    assert best(book)[0] == Decimal("9.9")


def test_a_hole_makes_the_book_stale_until_a_new_snapshot():
    book = synced()
    book.apply(diff(103, 104, bids=[("10", "1")]))
    assert book.state is BookState.STALE
    assert best(book)[0] == Decimal(9)
    assert book.needs_snapshot
    assert not book.load(snapshot(101))
    assert book.load(snapshot(102))
    assert best(book)[0] == Decimal(10)


def test_a_repeated_difference_changes_nothing():
    book = synced()
    book.apply(diff(102, 103, bids=[("9.5", "1")]))
    book.apply(diff(102, 103, bids=[("9.5", "1")]))
    assert book.state is BookState.SYNCED


def test_removing_an_unknown_level_is_normal():
    book = synced()
    book.apply(diff(102, 102, bids=[("5", "0.00000000")], asks=[("11", "0.00000000")]))
    assert book.book("X").asks == ()


def test_a_new_snapshot_is_asked_for_before_the_best_levels_reach_the_edge_of_the_last():
    bids = [(str(100 - i), "1") for i in range(10)]
    book = DiffBook(levels=4, snapshot_limit=10)
    book.apply(diff(100, 100))
    book.load(snapshot(100, bids=bids))
    assert not book.needs_snapshot
    book.apply(diff(101, 101, bids=[("90", "4"), ("100", "0"), ("99", "0"), ("98", "0")]))
    assert book.needs_snapshot
    assert [int(price) for price, _ in book.book("X").bids] == [97, 96, 95, 94]


def test_a_book_does_not_grow_without_bound():
    book = synced()
    for number in range(102, 202):
        book.apply(diff(number, number, asks=[(str(number), "1")]))
    assert len(book._asks) <= 20


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3)), max_size=80))
def test_the_book_is_what_the_levels_last_said(changes):
    book, truth = synced(bids=()), {}
    for number, (price, amount) in enumerate(changes, 102):
        book.apply(diff(number, number, bids=[(str(price), str(amount))]))
        truth[price] = amount
    expected = sorted(((p, q) for p, q in truth.items() if q), reverse=True)[:2]
    assert [(int(p), int(q)) for p, q in book.book("X").bids] == expected


def test_our_book_agrees_with_the_recorded_best_prices_at_every_common_update():
    """The exchange's own bookTicker stream is the independent witness (../shared/data)."""
    book, witness, ours = DiffBook(levels=20, snapshot_limit=1000), {}, {}
    with gzip.open(recorded("btcusdt_20240808.gz")) as lines:
        for line in lines:
            payload = line.split(b" ", 1)[1]
            if b'"stream"' not in payload[:12]:
                assert book.load(decode(Depth, payload))
                continue
            envelope = decode(Envelope, payload)
            if b"@bookTicker" in payload[:40]:
                said = msgspec.json.decode(envelope.data)
                witness[said["u"]] = tuple(Decimal(said[k]) for k in "bBaA")
            elif b"@depth" in payload[:40]:
                book.apply(decode(DiffEvent, envelope.data))
                if book.state is BookState.SYNCED:
                    told = book.book("BTCUSDT")
                    assert len(told.bids) == len(told.asks) == 20
                    ours[book.last_update_id] = (*told.bids[0], *told.asks[0])
    common = witness.keys() & ours.keys()
    assert len(common) > 500
    assert [number for number in common if witness[number] != ours[number]] == []
