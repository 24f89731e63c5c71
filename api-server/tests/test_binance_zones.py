# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Klines on the grid of any time zone, against what Python's calendar makes of the minutes."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkora.market import Candle
from linkora.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from marketdata.aggregation import Ladder, combine, horizon
from marketdata.binance_intervals import INTERVALS, ZONED, FoldedFrame, in_zone
from marketdata.binance_params import BinanceError, zone_of
from marketdata.params import CandleRange
from marketdata.queries import Queries
from testkit.market import Collector, minute

SYMBOL = "BTCUSDT"
START_MS = 1_704_067_200_000  # 2024-01-01
# Times on a local clock, so without a zone.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
MONDAY = EPOCH + timedelta(days=4)
WIDTHS = {
    **{f"{n}m": timedelta(minutes=n) for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": timedelta(hours=n) for n in (1, 2, 4, 6, 8, 12)},
    "1d": timedelta(days=1),
    "3d": timedelta(days=3),
    "1w": timedelta(days=7),
}
ZONES = ("0", "+08:00", "-3:30", "05:45", "14")


def bucket(interval: str, zone: timezone, open_ms: int) -> int:
    """Return where local time has the bucket of a minute open, Unix ms."""
    local = datetime.fromtimestamp(open_ms / 1000, zone).replace(tzinfo=None)
    if interval == "1M":
        opened = local.replace(day=1, hour=0, minute=0)
    else:
        origin = MONDAY if interval == "1w" else EPOCH
        opened = local - (local - origin) % WIDTHS[interval]
    return int(opened.replace(tzinfo=zone).timestamp()) * 1000


def row(inside: list[Candle], open_ms: int) -> list[Any]:
    def total(name: str) -> str:
        return f"{sum(getattr(candle, name) for candle in inside):.8f}"

    return [
        open_ms,
        f"{inside[0].open:.8f}",
        f"{max(candle.high for candle in inside):.8f}",
        f"{min(candle.low for candle in inside):.8f}",
        f"{inside[-1].close:.8f}",
        total("volume"),
        total("quote_volume"),
        sum(candle.trades for candle in inside),
        total("taker_buy_volume"),
        total("taker_buy_quote_volume"),
        "0",
    ]


def folded(candles: list[Candle], interval: str, shift_ms: int) -> list[list[Any]]:
    zone = timezone(timedelta(milliseconds=shift_ms))
    buckets: dict[int, list[Candle]] = {}
    for candle in candles:
        buckets.setdefault(bucket(interval, zone, candle.open_time_ms), []).append(candle)
    return [row(inside, open_ms) for open_ms, inside in sorted(buckets.items())]


async def test_klines_of_every_interval_and_zone_equal_the_calendars(
    pool: Any, collector: Collector
) -> None:
    # Seventy days, sparsely, and the hours around a change of month in full.
    opens = {START_MS + i * 61 * MINUTE_MS for i in range(70 * 24)}
    opens |= {START_MS + 31 * DAY_MS + i * MINUTE_MS for i in range(-300, 300)}
    candles = [minute(SYMBOL, open_ms) for open_ms in sorted(opens)]
    await collector.store(candles)
    queries = Queries(pool)
    for interval, frame in INTERVALS.items():
        for text in ZONES:
            shift_ms = zone_of({"timeZone": text})
            zoned = in_zone(frame, shift_ms)
            assert zoned is not None
            wanted = CandleRange(SYMBOL, zoned, None, None, 1000, "asc")
            rows = msgspec.json.decode(await queries.klines_json(wanted))
            every = folded(candles, interval, shift_ms)
            assert [each[:6] + each[7:] for each in rows] == every[-1000:], (interval, text)
            for each, following in pairwise(rows):
                assert each[6] < following[0]
            # From a moment inside a candle on: the next whole one, whatever span is looked into.
            middle = every[len(every) // 2][0]
            later = msgspec.structs.replace(wanted, start_ms=middle + 1, limit=2)
            got = msgspec.json.decode(await queries.klines_json(later))
            assert [each[0] for each in got] == [each[0] for each in every if each[0] > middle][:2]
            assert [each[:6] + each[7:] for each in got] == [e for e in every if e[0] > middle][:2]


async def test_folded_candle_at_the_edge_of_what_is_looked_into_is_whole(
    pool: Any, collector: Collector
) -> None:
    """Three days of which two are missing: the oldest lies where the first look begins."""
    shift_ms = 8 * HOUR_MS
    frame = in_zone(INTERVALS["1d"], shift_ms)
    assert frame is not None
    newest_ms = START_MS + 10 * DAY_MS + 3 * HOUR_MS
    opens = [
        newest_ms - back * DAY_MS + hour * HOUR_MS
        for back in (5, 1, 0)
        for hour in range(-10, 1)
    ]  # fmt: skip
    candles = [minute(SYMBOL, open_ms) for open_ms in opens]
    await collector.store(candles)
    every = folded(candles, "1d", shift_ms)
    for limit in range(1, len(every) + 1):
        wanted = CandleRange(SYMBOL, frame, None, newest_ms, limit, "asc")
        rows = msgspec.json.decode(await Queries(pool).klines_json(wanted))
        assert [each[:6] + each[7:] for each in rows] == every[-limit:], limit


async def test_month_in_a_zone_closes_with_the_local_month(pool: Any, collector: Collector) -> None:
    await collector.store([minute(SYMBOL, START_MS + 40 * DAY_MS)])
    zoned = in_zone(INTERVALS["1M"], zone_of({"timeZone": "-3:30"}))
    assert zoned is not None
    wanted = CandleRange(SYMBOL, zoned, None, None, 1, "asc")
    ((open_ms, *_, close_ms, _, _, _, _, _),) = msgspec.json.decode(
        await Queries(pool).klines_json(wanted)
    )
    zone = timezone(-timedelta(hours=3, minutes=30))
    assert datetime.fromtimestamp(open_ms / 1000, zone) == datetime(2024, 2, 1, tzinfo=zone)
    assert close_ms + 1 == datetime(2024, 3, 1, tzinfo=zone).timestamp() * 1000


@settings(deadline=None)
@given(st.sampled_from(sorted(INTERVALS)), st.integers(-48, 56), st.integers(0, 10**6))
def test_grid_of_a_zone_is_that_of_local_time(interval: str, quarters: int, at: int) -> None:
    shift_ms = quarters * 15 * MINUTE_MS
    frame = in_zone(INTERVALS[interval], shift_ms)
    assert frame is not None
    time_ms = START_MS + at * MINUTE_MS
    open_ms = frame.open_ms(time_ms)
    assert open_ms == bucket(interval, timezone(timedelta(milliseconds=shift_ms)), time_ms)
    assert open_ms <= time_ms < frame.next_open_ms(open_ms)
    assert frame.open_ms(frame.close_ms(open_ms)) == open_ms


def test_frame_that_a_zone_does_not_shift_keeps_its_table() -> None:
    assert in_zone(INTERVALS["1h"], 8 * HOUR_MS) is INTERVALS["1h"]
    assert in_zone(INTERVALS["1M"], 0) is INTERVALS["1M"]
    shifted = in_zone(INTERVALS["1d"], 8 * HOUR_MS)
    assert isinstance(shifted, FoldedFrame)
    assert shifted.table == "candles_4h"


def test_days_of_a_zone_that_needs_minutes_are_refused_and_hours_are_not() -> None:
    shift_ms = 5 * HOUR_MS + 7 * MINUTE_MS
    assert in_zone(INTERVALS["1d"], shift_ms) is None
    hours = in_zone(INTERVALS["4h"], shift_ms)
    assert isinstance(hours, FoldedFrame)
    assert hours.table == "candles"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("0", 0), ("8", 480), (" 8", 480), ("-1:00", -60), ("05:45", 345), ("+14:00", 840)],
)
def test_zone_is_hours_or_hours_and_minutes(text: str, minutes: int) -> None:
    assert zone_of({"timeZone": text}) == minutes * MINUTE_MS


@pytest.mark.parametrize(
    ("text", "code"),
    [("x", -1100), ("", -1100), ("8:", -1100), ("+", -1100), ("\u0661", -1100), ("1:2", -1100),
     ("14:01", -1130), ("-12:15", -1130), ("5:60", -1130), ("15", -1130)],
)  # fmt: skip
def test_zone_that_does_not_exist_is_refused(text: str, code: int) -> None:
    with pytest.raises(BinanceError) as refused:
        zone_of({"timeZone": text})
    assert refused.value.code == code


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 40 * 24 * 60), st.sampled_from(sorted(ZONED)))
def test_streamed_candle_of_a_zone_has_all_its_minutes(newest: int, name: str) -> None:
    frame = ZONED[name]
    newest_ms = START_MS + newest * MINUTE_MS
    # As the relay seeds it: minutes, hours and days from the horizon on.
    wanted = horizon(newest_ms)
    first_ms = wanted.hours_ms
    every = [minute(SYMBOL, t) for t in range(first_ms, newest_ms + 1, MINUTE_MS)]
    hours: dict[int, list[Candle]] = {}
    for candle in every:
        hours.setdefault(candle.open_time_ms - candle.open_time_ms % HOUR_MS, []).append(candle)
    ladder = Ladder(
        [candle for candle in every if candle.open_time_ms >= wanted.minutes_ms],
        [combine(parts, INTERVALS["1h"], is_over=True) for parts in hours.values()],
        [],
        [frame],
    )
    told = ladder.newest(frame, newest_ms + MINUTE_MS)
    assert told is not None
    zone = timezone(timedelta(hours=8))
    interval = name.partition("@")[0]
    inside = [
        candle
        for candle in every
        if bucket(interval, zone, candle.open_time_ms) == bucket(interval, zone, newest_ms)
    ]
    assert told.open_time_ms == bucket(interval, zone, newest_ms)
    assert told.volume == sum((candle.volume for candle in inside), Decimal(0))
    assert (told.open, told.close) == (inside[0].open, inside[-1].close)
    assert told.trades == sum(candle.trades for candle in inside)
