# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the API server's queries say of what the collector's stores wrote, on both databases."""

import json
import random
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest

from collector.book_store import BookStore
from collector.candle_store import CandleStore
from linkora.database import open_pool
from linkora.errors import TransientError
from linkora.market import Candle, Level, OrderBook
from linkora.settings import DatabaseSettings
from linkora.timeframes import DAY_MS, MINUTE_MS, TIMEFRAMES, Timeframe
from marketdata.aggregation import combine
from marketdata.params import CandleRange
from marketdata.queries import SERVER_SETTINGS, Queries
from marketdata.wire import candle_row
from schema.runner import migrate
from testkit.candles import START_MS, candle
from testkit.postgres import private_postgres

SYMBOL = "BTCUSDT"
NOW_MS = time.time_ns() // 1_000_000
ENTIRE = 5000


@pytest.fixture
async def queries(either_database: DatabaseSettings) -> AsyncIterator[Queries]:
    async with open_pool(either_database, name="tests", server_settings=SERVER_SETTINGS) as pool:
        yield Queries(pool)


@pytest.fixture
async def minutes(either_pool: asyncpg.Pool) -> list[Candle]:
    """Some hundred minutes in clusters over two months, ten days of silence among them."""
    rng = random.Random(20240201)
    opens = sorted(
        {
            START_MS + (day * DAY_MS) + rng.randrange(0, 240) * MINUTE_MS
            for day in (0, 1, 2, 6, 7, 28, 29, 30, 55)
            for _ in range(40)
        }
    )
    made = [random_candle(rng, (open_ms - START_MS) // MINUTE_MS) for open_ms in opens]
    made[-1] = msgspec.structs.replace(made[-1], is_closed=False)
    made[10] = msgspec.structs.replace(made[10], is_closed=False)
    assert len(await CandleStore(either_pool).store_states(made)) == len(made)
    return made


def random_candle(rng: random.Random, minute: int) -> Candle:
    low, spread = Decimal(rng.randrange(10**9)).scaleb(-8), Decimal(rng.randrange(10**6))
    return candle(
        minute,
        open=low,
        close=low + spread.scaleb(-8),
        low=low,
        high=low + spread.scaleb(-8),
        volume=spread.scaleb(-rng.choice((0, 8, 11))),
        quote_volume=spread.scaleb(-3),
        taker_buy_volume=Decimal(0),
        taker_buy_quote_volume=Decimal("5E-8"),
        trades=rng.randrange(1000),
    )


def buckets(minutes: list[Candle], frame: Timeframe) -> list[Candle]:
    """Return the candles of ``frame`` the naive way; the data is so old that all time is over."""
    if frame.parent is None:
        return minutes
    inside: dict[int, list[Candle]] = {}
    for minute in minutes:
        inside.setdefault(frame.open_ms(minute.open_time_ms), []).append(minute)
    return [combine(parts, frame, is_over=True) for parts in inside.values()]


def wanted(frame: Timeframe, **changes: Any) -> CandleRange:
    return msgspec.structs.replace(
        CandleRange(SYMBOL, frame, start_ms=None, end_ms=None, limit=ENTIRE, order="asc"), **changes
    )


def rows(candles: list[Candle]) -> list[Any]:
    return [json.loads(candle_row(one)) for one in candles]


async def test_every_timeframe_reads_as_its_minutes_make_it(
    queries: Queries, minutes: list[Candle]
) -> None:
    for frame in TIMEFRAMES.values():
        expected = buckets(minutes, frame)
        assert await queries.candles(SYMBOL, frame, start_ms=0, limit=ENTIRE) == expected
        assert json.loads(await queries.candles_json(wanted(frame))) == rows(expected)


async def test_a_row_made_in_sql_is_the_row_made_in_python_to_the_byte(
    queries: Queries, minutes: list[Candle]
) -> None:
    for frame in TIMEFRAMES.values():
        assert await queries.candle_rows(SYMBOL, frame, ENTIRE) == [
            (one.open_time_ms, candle_row(one)) for one in buckets(minutes, frame)
        ]


async def test_a_limit_is_met_across_silence_of_any_length(
    queries: Queries, minutes: list[Candle]
) -> None:
    cases = [
        (frame, all_rows, limit)
        for frame in (TIMEFRAMES["1"], TIMEFRAMES["45"], TIMEFRAMES["1D"])
        for all_rows in [rows(buckets(minutes, frame))]
        for limit in (1, 2, len(all_rows) - 1, len(all_rows), ENTIRE)
    ]
    for frame, all_rows, limit in cases:
        newest = json.loads(await queries.candles_json(wanted(frame, limit=limit)))
        assert newest == all_rows[-limit:]
        first = await queries.candles_json(wanted(frame, limit=limit, start_ms=START_MS))
        assert json.loads(first) == all_rows[:limit]
        down = await queries.candles_json(wanted(frame, limit=limit, order="desc"))
        assert json.loads(down) == all_rows[: -limit - 1 : -1]
        typed = await queries.newest_candles(SYMBOL, frame, limit)
        assert rows(typed) == all_rows[-limit:]


async def test_start_and_end_bound_the_open_times_inclusively(
    queries: Queries, minutes: list[Candle]
) -> None:
    frame = TIMEFRAMES["1"]
    start_ms, end_ms = minutes[20].open_time_ms, minutes[90].open_time_ms
    body = await queries.candles_json(wanted(frame, start_ms=start_ms, end_ms=end_ms))
    assert json.loads(body) == rows(minutes[20:91])
    body = await queries.candles_json(wanted(frame, end_ms=end_ms, limit=5))
    assert json.loads(body) == rows(minutes[86:91])


async def test_nothing_stored_is_an_empty_array(queries: Queries) -> None:
    frame = TIMEFRAMES["1H"]
    assert await queries.candles_json(wanted(frame)) == b"[]"
    assert await queries.candles(SYMBOL, frame, start_ms=0, limit=5) == []
    assert await queries.symbols() == []
    assert await queries.newest_minutes() == {}
    assert await queries.newest_books() == []


async def test_a_wider_candle_closes_with_its_last_minute_before_the_clock_says_so(
    queries: Queries, either_pool: asyncpg.Pool
) -> None:
    # Five minutes that lie an hour ahead of the database's clock.
    first = (NOW_MS // MINUTE_MS + 60) // 5 * 5 - START_MS // MINUTE_MS
    store, frame = CandleStore(either_pool), TIMEFRAMES["5"]

    async def closed() -> list[bool]:
        return [one.is_closed for one in await queries.candles(SYMBOL, frame, start_ms=0, limit=5)]

    await store.store_states([candle(first + number) for number in range(4)])
    assert await closed() == [False]
    await store.store_states([candle(first + 4, is_closed=False)])
    assert await closed() == [False]
    await store.store_states([candle(first + 4)])
    assert await closed() == [True]


async def test_a_wider_candle_with_a_minute_that_never_closed_is_open(
    queries: Queries, either_pool: asyncpg.Pool
) -> None:
    await CandleStore(either_pool).store_states([candle(0), candle(1, is_closed=False), candle(4)])
    (five,) = await queries.candles(SYMBOL, TIMEFRAMES["5"], start_ms=0, limit=5)
    assert not five.is_closed


async def test_a_revision_shows_in_every_timeframe(
    queries: Queries, either_pool: asyncpg.Pool
) -> None:
    store = CandleStore(either_pool)
    await store.store_states([candle(0), candle(1)])
    await store.store_states([candle(0, close=Decimal("10.1"))], authoritative=True)
    for frame in TIMEFRAMES.values():
        first, *_ = await queries.candles(SYMBOL, frame, start_ms=0, limit=5)
        assert first.revision == 1


async def test_symbols_and_their_newest_minutes(
    queries: Queries, either_pool: asyncpg.Pool
) -> None:
    await CandleStore(either_pool).store_states(
        [candle(3, symbol="ETHUSDT"), candle(9, symbol="ETHUSDT", is_closed=False), candle(2)]
    )
    assert await queries.symbols() == ["BTCUSDT", "ETHUSDT"]
    assert await queries.newest_minutes() == {
        "BTCUSDT": START_MS + 2 * MINUTE_MS,
        "ETHUSDT": START_MS + 9 * MINUTE_MS,
    }


@pytest.mark.parametrize("age_ms", [0, 2 * 3_600_000, 5 * DAY_MS])
async def test_the_newest_book_is_found_however_old_it_is(
    queries: Queries, either_pool: asyncpg.Pool, age_ms: int
) -> None:
    await CandleStore(either_pool).store_states([candle()])
    newest = OrderBook(
        symbol=SYMBOL,
        timestamp_ms=NOW_MS - age_ms,
        last_update_id=2,
        bids=(Level(Decimal("0.00000005"), Decimal("1.00000000")),),
        asks=(),
    )
    older = msgspec.structs.replace(newest, timestamp_ms=newest.timestamp_ms - 1, last_update_id=1)
    await BookStore(either_pool).store([newest, older])
    assert await queries.newest_book(SYMBOL) == newest
    assert await queries.newest_books() == [newest]
    assert await queries.newest_book("NONE") is None


async def test_every_query_says_that_the_database_is_away() -> None:
    with private_postgres() as server:
        migrate(server.settings())
        async with open_pool(server.settings(), name="tests") as pool:
            queries, frame = Queries(pool), TIMEFRAMES["1H"]
            await queries.ping()
            server.stop()
            for call in (
                queries.ping,
                queries.symbols,
                queries.newest_minutes,
                queries.newest_books,
                lambda: queries.newest_book(SYMBOL),
                lambda: queries.candles_json(wanted(frame)),
                lambda: queries.candle_rows(SYMBOL, frame, 5),
                lambda: queries.candles(SYMBOL, frame, start_ms=0, limit=5),
            ):
                with pytest.raises(TransientError):
                    await call()
