# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.activity import ORIGIN_MINUTE
from simulator.symbols import KNOWN_SYMBOLS, make_symbol
from simulator.trades import GeneratedTrades

YEARS_OF_MINUTES = 5_000_000
minutes = st.integers(ORIGIN_MINUTE, ORIGIN_MINUTE + YEARS_OF_MINUTES)
sources = st.sampled_from(
    [
        GeneratedTrades(KNOWN_SYMBOLS["BTCUSDT"], "1"),
        GeneratedTrades(KNOWN_SYMBOLS["PEPEUSDT"], "2", zero_trade_rate=0.3),
        GeneratedTrades(make_symbol("QUIETUSDT"), "3"),
    ]
)


@given(sources, minutes, st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_ids_are_dense_and_start_where_the_total_says(
    source: GeneratedTrades, first: int, count: int
) -> None:
    trades = source.trades(first, first + count)
    expected = np.arange(source.total(first), source.total(first + count))
    assert np.array_equal(trades.ids, expected)


@given(sources, minutes, st.integers(2, 130))
@settings(max_examples=40, deadline=None)
def test_a_stretch_is_the_sum_of_its_minutes(
    source: GeneratedTrades, first: int, count: int
) -> None:
    whole = source.trades(first, first + count)
    parts = [source.trades(minute, minute + 1) for minute in range(first, first + count)]
    for field in ("ids", "times_ms", "prices", "lots", "is_buyer_maker"):
        together = np.concatenate([getattr(part, field) for part in parts])
        assert np.array_equal(getattr(whole, field), together), field


@given(sources, minutes)
@settings(max_examples=60, deadline=None)
def test_trades_are_positive_ordered_and_inside_their_minute(
    source: GeneratedTrades, minute: int
) -> None:
    trades = source.trades(minute, minute + 1)
    assert (np.diff(trades.times_ms) >= 0).all()
    assert (trades.times_ms // 60_000 == minute).all()
    assert (trades.prices > 0).all()
    assert (trades.lots > 0).all()


@pytest.mark.parametrize("name", sorted(KNOWN_SYMBOLS))
def test_a_minute_opens_near_the_close_before(name: str) -> None:
    symbol = KNOWN_SYMBOLS[name]
    trades = GeneratedTrades(symbol, "42").trades(
        ORIGIN_MINUTE + 4_000_000, ORIGIN_MINUTE + 4_002_000
    )
    jumps = np.abs(np.diff(trades.prices)) / trades.prices[1:]
    assert jumps.max() < 0.01
    assert symbol.base_ticks / 3 < trades.prices.mean() < symbol.base_ticks * 3


def test_prices_move_over_days() -> None:
    source = GeneratedTrades(KNOWN_SYMBOLS["BTCUSDT"], "42")
    prices = [source.reference_ticks(ORIGIN_MINUTE + day * 1_440) for day in range(0, 3_000, 30)]
    assert max(prices) > 1.2 * min(prices)


def test_the_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    symbol, minute = KNOWN_SYMBOLS["ETHUSDT"], ORIGIN_MINUTE + 1_234_567
    one, same, other = (
        GeneratedTrades(symbol, seed).trades(minute, minute + 5) for seed in ("a", "a", "b")
    )
    assert np.array_equal(one.prices, same.prices)
    assert not np.array_equal(one.prices[:50], other.prices[:50])


def test_the_market_of_seed_42_never_changes() -> None:
    trades = GeneratedTrades(KNOWN_SYMBOLS["BTCUSDT"], "42").trades(28_333_333, 28_333_335)
    figures = [int(trades.ids[0]), int(trades.prices.sum()), int(trades.lots.sum())]
    assert figures == [173_418_068, 566_968_184, 131_745]


def test_a_share_of_minutes_has_no_trades() -> None:
    source = GeneratedTrades(KNOWN_SYMBOLS["BTCUSDT"], "42", zero_trade_rate=0.25)
    first = ORIGIN_MINUTE + 600_000
    totals = np.array([source.total(minute) for minute in range(first, first + 1_201)])
    empty = (np.diff(totals) == 0).mean()
    assert 0.2 < empty < 0.3


def test_a_revision_changes_one_minute_but_no_id_and_no_time() -> None:
    source, minute = GeneratedTrades(KNOWN_SYMBOLS["BTCUSDT"], "42"), ORIGIN_MINUTE + 777
    before = source.trades(minute - 1, minute + 2)
    source.revise(minute)
    after = source.trades(minute - 1, minute + 2)
    inside = before.times_ms // 60_000 == minute
    assert np.array_equal(before.ids, after.ids)
    assert np.array_equal(before.times_ms, after.times_ms)
    assert np.array_equal(before.lots[~inside], after.lots[~inside])
    assert not np.array_equal(before.lots[inside], after.lots[inside])
