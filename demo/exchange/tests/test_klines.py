# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Klines against a plain fold of the same trades, and the rules of ``/api/v3/klines``."""

import json
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import wire
from simulator.exchange import Exchange
from simulator.history import find_klines, minute_klines
from simulator.interruptions import Outage, Stretch
from simulator.intervals import INTERVALS
from simulator.klines import Column
from simulator.market import Market
from simulator.randomness import Int64s
from simulator.settings import Settings
from simulator.symbols import KNOWN_SYMBOLS, ORIGIN_MS, make_symbol
from simulator.trades import GeneratedTrades, Trades

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
NOON_MS = 1_709_294_400_000  # 2024-03-01 12:00 UTC
NOW_MS = NOON_MS + 10 * DAY_MS + 34_567


def make_market(name: str = "BTCUSDT", zero_trade_rate: float = 0.0) -> Market:
    symbol = make_symbol(name)
    return Market(symbol, GeneratedTrades(symbol, "42", zero_trade_rate))


def plain_fold(trades: Trades, price_before: int) -> list[int]:
    """Return open, high, low, close, volume, …, last id, computed the slow way."""
    row = [price_before] * 4 + [0, 0, 0, 0, 0, -1, -1]
    fields = zip(
        trades.ids.tolist(),
        trades.prices.tolist(),
        trades.lots.tolist(),
        trades.is_buyer_maker.tolist(),
        strict=True,
    )
    for number, (trade_id, price, lots, is_buyer_maker) in enumerate(fields):
        if not number:
            row[:4], row[9] = [price] * 4, trade_id
        row[1], row[2], row[3], row[10] = max(row[1], price), min(row[2], price), price, trade_id
        row[4], row[5], row[6] = row[4] + lots, row[5] + price * lots, row[6] + 1
        if not is_buyer_maker:
            row[7], row[8] = row[7] + lots, row[8] + price * lots
    return row


def opens(rows: Int64s) -> list[int]:
    return rows[:, Column.OPEN_MS].tolist()


@given(
    st.sampled_from(["BTCUSDT", "PEPEUSDT", "SLOWUSDT"]),
    st.sampled_from(["1s", "1m", "3m", "15m", "1h", "4h", "1d"]),
    st.integers(-300_000, 10_000),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_kline_is_the_fold_of_its_trades(
    name: str, interval: str, minutes_away: int, is_interrupted: bool
) -> None:
    market, width = make_market(name, 0.2), INTERVALS[interval]
    around_ms = NOON_MS + minutes_away * MINUTE_MS
    if is_interrupted:
        quiet = Stretch(around_ms - 90_500, around_ms + 200_123)
        outage = Outage(around_ms + 500_000, around_ms + 777_777)
        market.interrupt(market.interruptions.with_quiet(quiet).with_outage(outage))
    first_ms = width.shift(width.open_ms(around_ms), -2)
    for row in find_klines(market, width, first_ms, None, 5, NOW_MS).tolist():
        trades = market.trades(row[Column.OPEN_MS], row[Column.CLOSE_MS] + 1)
        assert row[2:] == plain_fold(trades, market.price_before(row[Column.OPEN_MS]))


@given(st.integers(0, 3 * DAY_MS), st.sampled_from(["1m", "5m", "1h", "1d", "1w", "1M"]))
@settings(max_examples=40, deadline=None)
def test_the_running_kline_is_the_fold_of_the_trades_so_far(ago_ms: int, interval: str) -> None:
    market, moment_ms = make_market("XRPUSDT"), NOW_MS - ago_ms
    row = market.kline_at(INTERVALS[interval], moment_ms)
    assert row is not None
    trades = market.trades(int(row[Column.OPEN_MS]), moment_ms + 1)
    assert row.tolist()[2:] == plain_fold(trades, market.price_before(int(row[Column.OPEN_MS])))
    (newest,) = find_klines(market, INTERVALS[interval], None, None, 1, moment_ms).tolist()
    assert newest == row.tolist()


@pytest.mark.parametrize("interval", sorted(INTERVALS))
def test_every_interval_tiles_time_without_holes(interval: str) -> None:
    rows = find_klines(make_market("SLOWUSDT"), INTERVALS[interval], None, None, 8, NOW_MS)
    assert len(rows) == 8
    assert (rows[1:, Column.OPEN_MS] == rows[:-1, Column.CLOSE_MS] + 1).all()
    assert (rows[1:, Column.FIRST_ID] > rows[:-1, Column.LAST_ID])[rows[1:, Column.COUNT] > 0].all()


def test_weeks_open_on_monday_and_months_on_the_first() -> None:
    market = make_market("SLOWUSDT")
    (week,) = opens(find_klines(market, INTERVALS["1w"], None, None, 1, NOW_MS))
    (month,) = opens(find_klines(market, INTERVALS["1M"], None, None, 1, NOW_MS))
    assert datetime.fromtimestamp(week / 1000, UTC).strftime("%A %H:%M") == "Monday 00:00"
    assert datetime.fromtimestamp(month / 1000, UTC).strftime("%d %H:%M") == "01 00:00"


def test_a_time_zone_moves_the_day() -> None:
    zone_ms = (5 * 60 + 45) * MINUTE_MS
    rows = find_klines(make_market("SLOWUSDT"), INTERVALS["1d"], None, None, 2, NOW_MS, zone_ms)
    assert [(open_ms + zone_ms) % DAY_MS for open_ms in opens(rows)] == [0, 0]
    trades = make_market("SLOWUSDT").trades(*opens(rows))
    assert int(rows[0, Column.COUNT]) == len(trades)


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "limit", "expected"),
    [
        (None, None, 2, [NOW_MS - 34_567 - MINUTE_MS, NOW_MS - 34_567]),
        (NOON_MS, None, 2, [NOON_MS, NOON_MS + MINUTE_MS]),
        (NOON_MS + 1, None, 2, [NOON_MS + MINUTE_MS, NOON_MS + 2 * MINUTE_MS]),
        (NOON_MS - 1, None, 1, [NOON_MS]),
        (None, NOON_MS, 2, [NOON_MS - MINUTE_MS, NOON_MS]),
        (None, NOON_MS - 1, 1, [NOON_MS - MINUTE_MS]),
        (NOON_MS, NOON_MS, 5, [NOON_MS]),
        (NOON_MS, NOON_MS + MINUTE_MS, 5, [NOON_MS, NOON_MS + MINUTE_MS]),
        (NOON_MS, NOON_MS + 9 * MINUTE_MS, 2, [NOON_MS, NOON_MS + MINUTE_MS]),
        (NOON_MS + 1, NOON_MS + 59_999, 5, []),
        (NOON_MS, NOON_MS - 1, 5, []),
        (NOW_MS + 5_000, None, 5, []),
        (ORIGIN_MS, ORIGIN_MS, 5, [ORIGIN_MS]),
    ],
)
def test_bounds_are_inclusive_and_compare_open_times(
    start_ms: int | None, end_ms: int | None, limit: int, expected: list[int]
) -> None:
    rows = find_klines(make_market(), INTERVALS["1m"], start_ms, end_ms, limit, NOW_MS)
    assert opens(rows) == expected


def interrupted_market(off_grid_until_ms: int = 0) -> Market:
    market = make_market()
    outage = Outage(NOON_MS + 32_287, NOON_MS + 6 * HOUR_MS + 14_789, off_grid_until_ms)
    market.interrupt(market.interruptions.with_outage(outage))
    return market


def test_an_outage_leaves_no_rows_and_cuts_the_last_one_before() -> None:
    rows = minute_klines(interrupted_market(), NOON_MS - MINUTE_MS, NOON_MS + 7 * HOUR_MS, NOW_MS)
    assert opens(rows)[:3] == [NOON_MS - MINUTE_MS, NOON_MS, NOON_MS + 6 * HOUR_MS]
    assert rows[:3, Column.CLOSE_MS].tolist() == [
        NOON_MS - 1,
        NOON_MS + 32_286,
        NOON_MS + 6 * HOUR_MS + 59_999,
    ]


def test_a_start_inside_an_outage_returns_the_first_later_kline() -> None:
    market = interrupted_market()
    rows = find_klines(market, INTERVALS["1m"], NOON_MS + HOUR_MS, None, 3, NOW_MS)
    assert opens(rows)[0] == NOON_MS + 6 * HOUR_MS
    assert len(rows) == 3


def test_the_newest_rows_reach_back_across_an_outage() -> None:
    market = interrupted_market()
    end_ms = NOON_MS + 6 * HOUR_MS + MINUTE_MS
    rows = find_klines(market, INTERVALS["1m"], None, end_ms, 5, NOW_MS)
    assert opens(rows) == [
        NOON_MS - 2 * MINUTE_MS,
        NOON_MS - MINUTE_MS,
        NOON_MS,
        NOON_MS + 6 * HOUR_MS,
        NOON_MS + 6 * HOUR_MS + MINUTE_MS,
    ]


def test_an_outage_that_is_still_to_come_is_not_visible() -> None:
    (row,) = find_klines(interrupted_market(), INTERVALS["1m"], None, None, 1, NOON_MS + 10_000)
    assert row[Column.CLOSE_MS] == NOON_MS + 59_999


def test_klines_may_open_off_the_grid_after_an_outage() -> None:
    until_ms = NOON_MS + 6 * HOUR_MS + 3 * MINUTE_MS
    rows = minute_klines(
        interrupted_market(until_ms), NOON_MS + HOUR_MS, NOON_MS + 7 * HOUR_MS, NOW_MS
    )
    assert [open_ms % MINUTE_MS for open_ms in opens(rows)[:5]] == [14_789, 14_789, 14_789, 0, 0]


def test_the_real_exchanges_outages_can_be_part_of_history() -> None:
    exchange = Exchange(Settings(symbols=("BTCUSDT",), real_outages=True))
    market = exchange.listings["BTCUSDT"].market
    start_ms = 1_582_111_800_000  # 2020-02-19 11:30 UTC
    rows = find_klines(market, INTERVALS["5m"], start_ms, None, 4, NOW_MS).tolist()
    assert [row[:2] for row in rows] == [  # times of the exchange's own answer
        [1_582_111_800_000, 1_582_112_099_999],
        [1_582_112_100_000, 1_582_112_132_286],
        [1_582_133_400_000, 1_582_133_699_999],
        [1_582_133_700_000, 1_582_133_999_999],
    ]
    off_grid_ms = 1_518_170_400_000  # 2018-02-09 10:00 UTC
    rows = find_klines(market, INTERVALS["1m"], off_grid_ms, None, 2, NOW_MS).tolist()
    assert [row[0] for row in rows] == [off_grid_ms + 14_789, off_grid_ms + 74_789]


def test_ids_stay_dense_across_an_outage() -> None:
    rows = minute_klines(
        interrupted_market(), NOON_MS - HOUR_MS, NOON_MS + 8 * HOUR_MS, NOW_MS
    ).tolist()
    filled = [row for row in rows if row[Column.COUNT]]
    for before, after in pairwise(filled):
        assert after[Column.FIRST_ID] == before[Column.LAST_ID] + 1


def test_a_minute_without_trades_is_flat_at_the_last_price() -> None:
    market = make_market()
    market.interrupt(market.interruptions.with_quiet(Stretch(NOON_MS, NOON_MS + 2 * MINUTE_MS)))
    rows = minute_klines(market, NOON_MS - MINUTE_MS, NOON_MS + MINUTE_MS, NOW_MS).tolist()
    close = rows[0][Column.CLOSE]
    for row in rows[1:]:
        assert row[Column.OPEN : Column.LAST_ID + 1] == [close] * 4 + [0] * 5 + [-1, -1]


def test_a_revision_changes_the_row_and_every_larger_one() -> None:
    market = make_market()
    before = [
        find_klines(market, INTERVALS[i], NOON_MS, NOON_MS, 1, NOW_MS).tolist()
        for i in ("1m", "1h", "1d")
    ]
    market.revise(NOON_MS)
    after = [
        find_klines(market, INTERVALS[i], NOON_MS, NOON_MS, 1, NOW_MS).tolist()
        for i in ("1m", "1h", "1d")
    ]
    assert after[0] != before[0]
    assert after[1] != before[1]
    assert after[0][0][Column.COUNT] == before[0][0][Column.COUNT]


def test_a_symbol_has_no_history_before_its_listing() -> None:
    symbol = KNOWN_SYMBOLS["BTCUSDT"]
    market = Market(symbol, GeneratedTrades(symbol, "42"), NOON_MS)
    rows = find_klines(market, INTERVALS["1m"], ORIGIN_MS, None, 3, NOW_MS)
    assert opens(rows)[0] == NOON_MS
    assert rows[0, Column.FIRST_ID] == 0


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0, 0, "0.00000000"),
        (7, 8, "0.00000007"),
        (1_234_567, 2, "12345.67000000"),
        (123_456_789_012_345_678, 0, "123456789012345678.00000000"),
        (9_007_199_254_740_993, 8, "90071992.54740993"),
    ],
)
def test_decimal_texts_are_exact(value: int, decimals: int, text: str) -> None:
    assert wire.decimal_text(value, decimals) == text


@pytest.mark.parametrize("name", ["BTCUSDT", "PEPEUSDT", "XRPUSDT", "DOGEUSDT"])
def test_a_page_of_rows_says_what_single_texts_say(name: str) -> None:
    market = make_market(name)
    symbol, rows = market.symbol, minute_klines(market, NOON_MS, NOON_MS + HOUR_MS, NOW_MS)
    for text_row, row in zip(json.loads(wire.kline_rows(symbol, rows)), rows.tolist(), strict=True):
        assert text_row[1] == wire.decimal_text(row[Column.OPEN], symbol.price_decimals)
        assert text_row[5] == wire.decimal_text(row[Column.VOLUME], symbol.lot_decimals)
        assert text_row[7] == wire.decimal_text(row[Column.QUOTE_VOLUME], symbol.quote_decimals)
        assert [len(text_row), text_row[11]] == [12, "0"]


def test_a_cheap_symbol_trades_more_than_a_million_million_a_day() -> None:
    (row,) = find_klines(make_market("PEPEUSDT"), INTERVALS["1d"], None, NOON_MS, 1, NOW_MS)
    assert row[Column.VOLUME] > 10**12
