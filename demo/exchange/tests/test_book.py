# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The order book: one story in snapshots, diffs, top levels and trades."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.book import Book, GeneratedBook, merge_changes
from simulator.interruptions import Outage
from simulator.market import Market
from simulator.randomness import Int64s
from simulator.symbols import make_symbol
from simulator.trades import GeneratedTrades

NOON_MS = 1_709_294_400_000
NAMES = ["BTCUSDT", "PEPEUSDT", "SLOWUSDT"]
moments = st.integers(NOON_MS, NOON_MS + 300 * 86_400_000)
Levels = dict[int, int]


def make_book(name: str) -> tuple[Market, GeneratedBook]:
    symbol = make_symbol(name)
    market = Market(symbol, GeneratedTrades(symbol, "42"))
    return market, GeneratedBook(market, "42")


def follow(side: Levels, changes: Int64s) -> None:
    for price, lots in changes.tolist():
        if lots:
            side[price] = lots
        else:
            side.pop(price, None)


def whole(source: GeneratedBook, time_ms: int, depth: int = 5_000) -> Book:
    book = source.book(time_ms, depth)
    assert book is not None
    return book


@given(st.sampled_from(NAMES), moments)
@settings(max_examples=40, deadline=None)
def test_a_book_is_sorted_uncrossed_and_brackets_the_last_price(name: str, time_ms: int) -> None:
    market, source = make_book(name)
    book = whole(source, time_ms)
    bids, asks = book.bids.tolist(), book.asks.tolist()
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert len({price for price, _ in bids + asks}) == len(bids) + len(asks)
    assert min(lots for _, lots in bids + asks) > 0
    last = market.last_trade_before(time_ms // 100 * 100 + 1)
    assert last is not None
    assert bids[0][0] <= last.prices[0] <= asks[0][0]
    assert bids[0][0] < asks[0][0]
    assert len(bids) > 200


@given(st.sampled_from(NAMES), moments, st.lists(st.integers(1, 40_000), min_size=1, max_size=15))
@settings(max_examples=30, deadline=None)
def test_diffs_applied_to_a_snapshot_give_the_later_book(
    name: str, time_ms: int, steps_ms: list[int]
) -> None:
    _, source = make_book(name)
    book = whole(source, time_ms)
    bids, asks = dict(book.bids.tolist()), dict(book.asks.tolist())
    update_id = book.update_id
    for step_ms in steps_ms:
        for change in source.changes(time_ms, time_ms + step_ms):
            assert change.first_id == update_id + 1
            assert change.last_id >= change.first_id
            update_id = change.last_id
            follow(bids, change.bids)
            follow(asks, change.asks)
        time_ms += step_ms
    later = whole(source, time_ms)
    assert later.update_id == update_id
    assert sorted(bids.items(), reverse=True) == [tuple(level) for level in later.bids.tolist()]
    assert sorted(asks.items()) == [tuple(level) for level in later.asks.tolist()]


@given(st.sampled_from(NAMES), moments, st.sampled_from([1, 5, 10, 20, 100]))
@settings(max_examples=40, deadline=None)
def test_the_top_is_the_top_of_the_whole_book(name: str, time_ms: int, depth: int) -> None:
    _, source = make_book(name)
    top, book = whole(source, time_ms, depth), whole(source, time_ms)
    assert top.update_id == book.update_id
    assert top.bids.tolist() == book.bids[:depth].tolist()
    assert top.asks.tolist() == book.asks[:depth].tolist()


def test_every_slot_changes_something() -> None:
    _, source = make_book("SLOWUSDT")
    for slot_ms in range(NOON_MS, NOON_MS + 20_000, 100):
        (change,) = source.changes(slot_ms, slot_ms + 100)
        assert len(change.bids) + len(change.asks) > 0


def test_a_removed_level_is_sent_with_quantity_zero() -> None:
    _, source = make_book("BTCUSDT")
    (change,) = source.changes(NOON_MS, NOON_MS + 60_000)
    assert 0 in change.bids[:, 1]
    assert 0 in change.asks[:, 1]


def test_merged_changes_are_one_change() -> None:
    _, source = make_book("BTCUSDT")
    steps = [
        c for i in range(10) for c in source.changes(NOON_MS + i * 100, NOON_MS + i * 100 + 100)
    ]
    merged = merge_changes(steps)
    assert (merged.first_id, merged.last_id) == (steps[0].first_id, steps[-1].last_id)
    book, later = whole(source, NOON_MS), whole(source, NOON_MS + 1_000)
    bids = dict(book.bids.tolist())
    follow(bids, merged.bids)
    assert bids == dict(later.bids.tolist())


def test_the_book_stands_still_during_an_outage() -> None:
    market, source = make_book("BTCUSDT")
    market.interrupt(market.interruptions.with_outage(Outage(NOON_MS, NOON_MS + 600_000)))
    assert source.changes(NOON_MS + 100, NOON_MS + 300_000) == []
    before, during = whole(source, NOON_MS - 1), whole(source, NOON_MS + 300_000)
    assert before.update_id == during.update_id
    assert before.bids.tolist() == during.bids.tolist()
    (change,) = source.changes(NOON_MS + 300_000, NOON_MS + 600_000)
    assert change.first_id == before.update_id + 1


@pytest.mark.parametrize("name", NAMES)
def test_a_window_step_does_not_break_the_diffs(name: str) -> None:
    _, source = make_book(name)
    day_later_ms = NOON_MS + 86_400_000
    book, later = whole(source, NOON_MS), whole(source, day_later_ms)
    bids = dict(book.bids.tolist())
    (change,) = source.changes(NOON_MS, day_later_ms)
    follow(bids, change.bids)
    assert bids == dict(later.bids.tolist())
