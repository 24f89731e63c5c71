# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The running candles against what SQL makes of the one-minute rows, and by themselves."""

import random
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkora.market import Candle
from linkora.timeframes import HOUR_MS, MINUTE_MS, TIMEFRAMES
from marketdata.aggregation import Changes, Ladder, Stale, horizon
from testkit.market import Collector, minute, moment, running

WIDTHS = {
    "3": "3 minutes",
    "5": "5 minutes",
    "15": "15 minutes",
    "30": "30 minutes",
    "45": "45 minutes",
    "1H": "1 hour",
    "2H": "2 hours",
    "3H": "3 hours",
    "4H": "4 hours",
    "1D": "24 hours",
    "1W": "168 hours",
}
_NAIVE = """
SELECT (array_agg(open_price ORDER BY open_time))[1], max(high_price), min(low_price),
       (array_agg(close_price ORDER BY open_time DESC))[1], sum(volume), sum(quote_volume),
       sum(trades), sum(taker_buy_volume), sum(taker_buy_quote_volume), bool_and(is_closed)
FROM candles WHERE symbol = $1 AND {bucket} = $2
GROUP BY {bucket}
"""


def naive_sql(name: str) -> str:
    """One bucket straight from the minutes, by PostgreSQL's own calendar."""
    if name == "1":
        bucket = "open_time"
    elif name == "1M":
        bucket = "date_trunc('month', open_time, 'UTC')"
    else:
        origin = "2001-01-01 00:00:00+00"  # a Monday
        bucket = f"date_bin('{WIDTHS[name]}', open_time, timestamptz '{origin}')"
    return _NAIVE.format(bucket=bucket)


def numbers(candle: Candle) -> tuple[Any, ...]:
    return (
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.quote_volume,
        candle.trades,
        candle.taker_buy_volume,
        candle.taker_buy_quote_volume,
    )


async def seeded(pool: asyncpg.Pool, symbol: str, newest_ms: int) -> Ladder:
    """Return a ladder that was read from the rollup tables, as the relay does it."""
    from marketdata.queries import Queries

    wanted, queries = horizon(newest_ms), Queries(pool)
    return Ladder(
        await queries.candles(symbol, TIMEFRAMES["1"], start_ms=wanted.minutes_ms, limit=1000),
        await queries.candles(symbol, TIMEFRAMES["1H"], start_ms=wanted.hours_ms, limit=1000),
        await queries.candles(symbol, TIMEFRAMES["1D"], start_ms=wanted.days_ms, limit=1000),
    )


def messages(rng: random.Random, symbol: str, newest_ms: int) -> list[Candle]:
    """Return a session: states, late closings, corrections, repetitions, missing minutes."""
    told: list[Candle] = []
    open_ms = newest_ms
    late: list[Candle] = []
    for _ in range(rng.randint(5, 45)):
        final = minute(symbol, open_ms, volume=Decimal(rng.randint(0, 10**9)) / 1000)
        for part in range(1, rng.randint(1, 4)):
            share = Decimal(part) / 4
            state = running(final, volume=final.volume * share, trades=final.trades * part // 4)
            told += [state] * rng.randint(1, 2)
        (late if rng.random() < 0.2 else told).append(final)
        if late and rng.random() < 0.5:
            told.append(late.pop())
        if rng.random() < 0.1 and told[-1].is_closed:
            told.append(
                msgspec.structs.replace(
                    told[-1], revision=told[-1].revision + 1, high=told[-1].high + 5
                )
            )
        open_ms += MINUTE_MS * (rng.choice([1, 1, 1, 2, 30, 200]) if rng.random() < 0.2 else 1)
    return told + late


@pytest.mark.parametrize("seed", range(4))
async def test_every_timeframe_equals_sql_over_the_minutes_after_every_message(
    pool: asyncpg.Pool, collector: Collector, seed: int
) -> None:
    rng = random.Random(seed)
    symbol = "BTCUSDT"
    # The end of a month that is also the middle of a week, a day, an hour.
    newest_ms = 1_706_745_600_000 - rng.randint(1, 300) * MINUTE_MS
    past = [
        minute(symbol, newest_ms - back * MINUTE_MS)
        for back in range(1, 3000)
        if rng.random() < 0.97
    ]
    await collector.store(past)
    ladder = await seeded(pool, symbol, past[0].open_time_ms)
    statements = {name: naive_sql(name) for name in TIMEFRAMES}
    for count, message in enumerate(messages(rng, symbol, newest_ms)):
        now_ms = max(ladder.newest_ms, message.open_time_ms) + 61_000
        result = ladder.apply(message, now_ms)
        if isinstance(result, Stale):
            await collector.store_minutes([message])
            first_ms = min(message.open_time_ms, newest_ms)
            await collector.roll_up(symbol, first_ms, ladder.newest_ms + MINUTE_MS)
            ladder = await seeded(pool, symbol, ladder.newest_ms)
        elif result != Changes():
            await collector.store_minutes([message])
        for name, frame in TIMEFRAMES.items():
            for candle in (ladder.newest(frame, now_ms), ladder.previous(frame, now_ms)):
                if candle is None:
                    continue
                if count % 12 and name not in {"5", "1M"}:
                    continue
                row = await pool.fetchrow(statements[name], symbol, moment(candle.open_time_ms))
                assert row is not None
                assert numbers(candle) == tuple(row)[:9], f"seed {seed}, message {count}, {name}"


TIMES = st.integers(1_600_000_000_000, 1_800_000_000_000)


@given(newest_ms=TIMES, kept=st.lists(st.integers(0, 400), max_size=60, unique=True))
@settings(max_examples=60)
def test_volume_of_a_bucket_is_the_sum_of_its_minutes(newest_ms: int, kept: list[int]) -> None:
    newest_ms -= newest_ms % MINUTE_MS
    minutes = [minute("X", newest_ms - back * MINUTE_MS) for back in kept]
    ladder = Ladder([minute("X", newest_ms), *minutes], [], [])
    known = {m.open_time_ms: m for m in [*minutes, minute("X", newest_ms)]}
    for frame in TIMEFRAMES.values():
        candle = ladder.newest(frame, newest_ms)
        assert candle is not None
        inside = [m for t, m in known.items() if frame.open_ms(t) == candle.open_time_ms]
        assert candle.volume == sum(m.volume for m in inside)
        assert candle.trades == sum(m.trades for m in inside)


@given(TIMES)
def test_horizon_covers_the_previous_bucket_of_every_timeframe(newest_ms: int) -> None:
    wanted = horizon(newest_ms)
    from_ms = {None: wanted.minutes_ms, "1": wanted.minutes_ms}
    from_ms |= {"1H": wanted.hours_ms, "1D": wanted.days_ms}
    for frame in TIMEFRAMES.values():
        previous_ms = frame.open_ms(frame.open_ms(newest_ms) - 1)
        assert from_ms[frame.parent] <= previous_ms


MONDAY_MS = 1_704_067_200_000  # 2024-01-01, a Monday


def ladder_until(open_ms: int, count: int = 200) -> Ladder:
    """A ladder whose minutes up to ``open_ms`` are closed."""
    return Ladder([minute("X", open_ms - back * MINUTE_MS) for back in range(count)], [], [])


def final_names(result: Changes | Stale) -> list[str]:
    assert isinstance(result, Changes)
    return [frame.name for frame, _ in result.finals]


def test_last_minute_closes_every_bucket_that_ends_with_it() -> None:
    ladder = ladder_until(MONDAY_MS + 2 * HOUR_MS - 2 * MINUTE_MS)
    last = minute("X", MONDAY_MS + 2 * HOUR_MS - MINUTE_MS)
    assert final_names(ladder.apply(running(last), last.open_time_ms + 30_000)) == []
    names = final_names(ladder.apply(last, last.close_time_ms + 4))
    assert names == ["1", "3", "5", "15", "30", "1H", "2H"]


def test_late_closing_closes_the_previous_bucket_after_the_next_has_opened() -> None:
    last = minute("X", MONDAY_MS + HOUR_MS - MINUTE_MS)
    ladder = ladder_until(last.open_time_ms - MINUTE_MS)
    ladder.apply(running(last), last.open_time_ms)
    ladder.apply(running(minute("X", MONDAY_MS + HOUR_MS)), MONDAY_MS + HOUR_MS + 100)
    result = ladder.apply(last, MONDAY_MS + HOUR_MS + 1755)
    assert final_names(result) == ["1", "3", "5", "15", "30", "1H"]


def test_bucket_ends_on_the_grid_though_its_last_minutes_are_missing() -> None:
    ladder = ladder_until(MONDAY_MS + 6 * MINUTE_MS)
    end_ms = MONDAY_MS + 10 * MINUTE_MS
    assert ladder.tick(end_ms - 1) == []
    ended = ladder.tick(end_ms)
    assert [(frame.name, candle.is_closed) for frame, candle in ended] == [("5", True)]
    assert ladder.tick(end_ms + 1) == []


def test_bucket_with_a_running_minute_does_not_end_by_the_clock() -> None:
    ladder = ladder_until(MONDAY_MS + 6 * MINUTE_MS)
    ladder.apply(running(minute("X", MONDAY_MS + 7 * MINUTE_MS)), MONDAY_MS + 7 * MINUTE_MS)
    ladder.tick(MONDAY_MS + 10 * MINUTE_MS - 1)
    assert ladder.tick(MONDAY_MS + 10 * MINUTE_MS) == []


def test_correction_of_a_closed_minute_corrects_its_closed_buckets() -> None:
    newest_ms = MONDAY_MS + 20 * MINUTE_MS
    ladder = ladder_until(newest_ms)
    old = minute("X", MONDAY_MS + 3 * MINUTE_MS, revision=1, high=Decimal(99_999))
    result = ladder.apply(old, newest_ms + 61_000)
    assert final_names(result) == ["1", "3", "5", "15"]
    assert isinstance(result, Changes)
    assert {candle.high for _, candle in result.finals} == {Decimal(99_999)}
    assert [frame.name for frame in result.states][-1] == "1M"


def test_corrected_high_goes_down_again() -> None:
    newest_ms = MONDAY_MS + 20 * MINUTE_MS
    ladder = ladder_until(newest_ms)
    for revision, high in ((1, Decimal(99_999)), (2, Decimal(5000))):
        ladder.apply(minute("X", newest_ms, revision=revision, high=high), newest_ms + 61_000)
    day = ladder.newest(TIMEFRAMES["1D"], newest_ms)
    assert day is not None
    assert day.high == 5000


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({}, {"is_closed": False}),
        ({"revision": 2}, {"revision": 1}),
        ({"is_closed": False, "trades": 50}, {"is_closed": False, "trades": 49}),
    ],
)
def test_message_older_than_what_is_known_changes_nothing(
    known: dict[str, Any], message: dict[str, Any]
) -> None:
    newest_ms = MONDAY_MS + 20 * MINUTE_MS
    ladder = Ladder([minute("X", newest_ms, **known)], [], [])
    result = ladder.apply(minute("X", newest_ms, **message, close=Decimal(1)), newest_ms)
    assert result == Changes()
    assert ladder.newest_minute == minute("X", newest_ms, **known)


def test_minute_before_the_horizon_is_stale() -> None:
    newest_ms = MONDAY_MS + 20 * MINUTE_MS
    ladder = ladder_until(newest_ms)
    old_ms = horizon(newest_ms).minutes_ms - MINUTE_MS
    assert isinstance(ladder.apply(minute("X", old_ms, revision=1), newest_ms), Stale)


def test_week_and_month_survive_the_change_of_month() -> None:
    first_ms = MONDAY_MS + 31 * 24 * HOUR_MS  # 2024-02-01, a Thursday
    ladder = ladder_until(first_ms - MINUTE_MS)
    ladder.apply(running(minute("X", first_ms)), first_ms)
    month, week = (ladder.newest(TIMEFRAMES[name], first_ms) for name in ("1M", "1W"))
    assert month is not None
    assert week is not None
    assert month.open_time_ms == first_ms
    assert week.open_time_ms == MONDAY_MS + 28 * 24 * HOUR_MS
    previous = ladder.previous(TIMEFRAMES["1M"], first_ms)
    assert previous is not None
    assert previous.open_time_ms == MONDAY_MS
    assert previous.is_closed
