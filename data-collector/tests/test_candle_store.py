# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.candle_store import CandleStore
from collector.ports import StoredPages
from linkora.database import open_pool
from linkora.errors import CorruptMessage, TransientError
from linkora.market import Candle
from linkora.settings import DatabaseSettings
from linkora.timeframes import DAY_MS, MINUTE_MS
from schema.runner import migrate
from testkit.candles import FAR_MS, START_MS, candle, kline, page
from testkit.postgres import private_postgres
from testkit.rollups import assert_rollups_are_exact


async def stored(pool: asyncpg.Pool, symbol: str = "BTCUSDT") -> list[dict[str, Any]]:
    rows = await pool.fetch("SELECT * FROM candles WHERE symbol = $1 ORDER BY open_time", symbol)
    return [dict(row) for row in rows]


OPEN = {"is_closed": False}


@pytest.mark.parametrize(
    ("first", "second", "authoritative", "kept", "revision"),
    [
        pytest.param(OPEN, {"close": 11, **OPEN}, False, "second", 0, id="newer-open"),
        pytest.param(OPEN, {"trades": 4, **OPEN}, False, "first", 0, id="fewer-trades"),
        pytest.param(OPEN, {"trades": 4}, False, "second", 0, id="close-with-fewer-trades"),
        pytest.param({}, {"trades": 9, **OPEN}, True, "first", 0, id="open-over-close"),
        pytest.param({}, {"close": 11}, False, "first", 0, id="another-close-by-stream"),
        pytest.param({}, {"close": 11}, True, "second", 1, id="another-close-by-the-exchange"),
        pytest.param({}, {}, True, "first", 0, id="the-same-close"),
        pytest.param({}, {"close": Decimal("10.750")}, True, "first", 0, id="the-same-number"),
        pytest.param(
            {}, {"close_time_ms": START_MS + 30_000}, True, "second", 1, id="truncated-close"
        ),
    ],
)
async def test_who_wins_over_what_is_stored(
    either_pool: asyncpg.Pool,
    first: dict[str, Any],
    second: dict[str, Any],
    authoritative: bool,
    kept: str,
    revision: int,
) -> None:
    store = CandleStore(either_pool)
    old, new = candle(**first), candle(**second)
    assert await store.store_states([old]) == [old]
    changed = await store.store_states([new], authoritative=authoritative)
    winner = msgspec.structs.replace(new if kept == "second" else old, revision=revision)
    assert changed == ([winner] if kept == "second" else [])
    (row,) = await stored(either_pool)
    assert (row["close_price"], row["trades"], row["is_closed"], row["revision"]) == (
        winner.close,
        winner.trades,
        winner.is_closed,
        winner.revision,
    )
    await assert_rollups_are_exact(either_pool, "BTCUSDT")


async def test_each_correction_counts_one_revision_more(either_pool: asyncpg.Pool) -> None:
    store = CandleStore(either_pool)
    revisions = []
    for close in ("10.1", "10.2", "10.2", "10.3"):
        changed = await store.store_states([candle(close=Decimal(close))], authoritative=True)
        revisions.append([one.revision for one in changed])
    assert revisions == [[0], [1], [], [2]]


async def test_of_several_states_of_a_minute_the_last_word_is_stored(
    either_pool: asyncpg.Pool,
) -> None:
    states = [
        candle(trades=3, **OPEN),
        candle(trades=7),
        candle(trades=9, **OPEN),
        candle(1, trades=2, **OPEN),
        candle(1, trades=1, **OPEN),
        candle(symbol="ETHUSDT"),
    ]
    changed = await CandleStore(either_pool).store_states(states)
    assert changed == [states[1], states[3], states[5]]


async def test_numbers_are_stored_to_the_last_digit(either_pool: asyncpg.Pool) -> None:
    tiny, huge = Decimal("5E-8"), Decimal("123456789012345678901234.000000000000000001")
    await CandleStore(either_pool).store_states([candle(low=tiny, volume=huge)])
    (row,) = await stored(either_pool)
    assert (row["low_price"], row["volume"]) == (tiny, huge)
    text = await either_pool.fetchval("SELECT low_price::text FROM candles_1mo")
    assert text == "0.00000005"


async def test_an_impossible_number_is_refused_with_its_whole_batch(
    either_pool: asyncpg.Pool,
) -> None:
    for value in ("NaN", "Infinity", "-1"):
        with pytest.raises(CorruptMessage):
            await CandleStore(either_pool).store_states([candle(1), candle(high=Decimal(value))])
    assert await stored(either_pool) == []


async def test_a_page_is_stored_as_the_exchange_wrote_it(either_pool: asyncpg.Pool) -> None:
    body = page([kline(0), kline(1, trades=0), kline(3)])
    done = await CandleStore(either_pool).store_pages("BTCUSDT", [body], final_before_ms=FAR_MS)
    assert done == StoredPages(changed=3, revised=0)
    rows = await stored(either_pool)
    assert {key: rows[0][key] for key in rows[0] if key not in {"updated_at", "raw_open_time"}} == {
        "symbol": "BTCUSDT",
        "open_time": datetime(2024, 2, 1, tzinfo=UTC),
        "close_time": datetime(2024, 2, 1, 0, 0, 59, 999_000, tzinfo=UTC),
        "open_price": Decimal("10.5"),
        "high_price": Decimal(11),
        "low_price": Decimal(10),
        "close_price": Decimal("10.75"),
        "volume": Decimal(2),
        "quote_volume": Decimal(21),
        "trades": 5,
        "taker_buy_volume": Decimal(1),
        "taker_buy_quote_volume": Decimal(10),
        "is_closed": True,
        "revision": 0,
    }
    assert [row["open_time"].minute for row in rows] == [0, 1, 3]
    assert [row["raw_open_time"] for row in rows] == [None, None, None]
    assert await assert_rollups_are_exact(either_pool, "BTCUSDT") == 3


async def test_the_same_pages_again_change_nothing(either_pool: asyncpg.Pool) -> None:
    store, body = CandleStore(either_pool), page([kline(m) for m in range(50)])
    await store.store_pages("BTCUSDT", [body], final_before_ms=FAR_MS)
    before = await stored(either_pool)
    again = await store.store_pages("BTCUSDT", [body, body], final_before_ms=FAR_MS)
    assert again == StoredPages(changed=0, revised=0)
    assert await stored(either_pool) == before


async def test_a_page_corrects_a_close_and_says_so(either_pool: asyncpg.Pool) -> None:
    store = CandleStore(either_pool)
    await store.store_states([candle(0), candle(1), candle(2, trades=4, **OPEN)])
    body = page([kline(0), kline(1, close="10.9"), kline(2), kline(3)])
    done = await store.store_pages("BTCUSDT", [body], final_before_ms=FAR_MS)
    assert done == StoredPages(changed=3, revised=1)
    assert [row["revision"] for row in await stored(either_pool)] == [0, 1, 0, 0]
    await assert_rollups_are_exact(either_pool, "BTCUSDT")


async def test_a_row_that_closes_after_the_exchanges_time_is_not_final(
    either_pool: asyncpg.Pool,
) -> None:
    body = page([kline(0), kline(1)])
    last_ms = START_MS + 2 * MINUTE_MS - 1
    store = CandleStore(either_pool)
    await store.store_pages("BTCUSDT", [body], final_before_ms=last_ms)
    assert [row["is_closed"] for row in await stored(either_pool)] == [True, False]
    await store.store_pages("BTCUSDT", [body], final_before_ms=last_ms + 1)
    assert [row["is_closed"] for row in await stored(either_pool)] == [True, True]


async def test_an_open_off_the_grid_is_kept_beside_its_minute(either_pool: asyncpg.Pool) -> None:
    raw_ms = START_MS + 14_123
    rows = [kline(0, open_ms=raw_ms, close_ms=raw_ms + 20_000)]
    store = CandleStore(either_pool)
    await store.store_pages("BTCUSDT", [page(rows)], final_before_ms=FAR_MS)
    (row,) = await stored(either_pool)
    assert row["open_time"] == datetime(2024, 2, 1, tzinfo=UTC)
    assert row["raw_open_time"] == datetime(2024, 2, 1, 0, 0, 14, 123_000, tzinfo=UTC)
    assert row["close_time"] == datetime(2024, 2, 1, 0, 0, 34, 123_000, tzinfo=UTC)
    again = await store.store_pages("BTCUSDT", [page(rows)], final_before_ms=FAR_MS)
    assert again == StoredPages(changed=0, revised=0)


async def test_of_two_rows_in_one_minute_the_earlier_is_kept(either_pool: asyncpg.Pool) -> None:
    rows = [kline(0, trades=9, open_ms=START_MS + 31_000), kline(0, trades=1)]
    await CandleStore(either_pool).store_pages("BTCUSDT", [page(rows)], final_before_ms=FAR_MS)
    assert [row["trades"] for row in await stored(either_pool)] == [1]


GARBAGE = [
    b"<html>busy</html>",
    b'[[1,"2"',
    b'{"code":-1121,"msg":"Invalid symbol."}',
    b'[[1706745600000,"10.5"]]',
    b"\xff\xfe",
    page([kline(0, close="ten")]),
    page([kline(0, close="-1")]),
    page([kline(0, trades=-1)]),
    page([kline(0), ["late", *kline(1)[1:]]]),
]


async def test_garbage_is_refused_and_nothing_of_it_stored(either_pool: asyncpg.Pool) -> None:
    store, good = CandleStore(either_pool), page([kline(5)])
    for body in GARBAGE:
        with pytest.raises(CorruptMessage):
            await store.store_pages("BTCUSDT", [good, body], final_before_ms=FAR_MS)
    assert await stored(either_pool) == []


async def test_an_empty_page_is_fine(either_pool: asyncpg.Pool) -> None:
    done = await CandleStore(either_pool).store_pages("BTCUSDT", [b"[]"], final_before_ms=FAR_MS)
    assert done == StoredPages(changed=0, revised=0)


async def test_the_state_of_a_symbol_knows_its_first_and_last_minute(
    either_pool: asyncpg.Pool,
) -> None:
    store = CandleStore(either_pool)
    await store.store_states([candle(10), candle(11, **OPEN)])
    await store.store_pages("BTCUSDT", [page([kline(2)])], final_before_ms=FAR_MS)
    row = await either_pool.fetchrow(
        "SELECT first_open_time, last_open_time, last_closed_open_time FROM collector_state"
    )
    assert [moment.minute for moment in row] == [2, 11, 10]


async def test_a_correction_reaches_every_compressed_timeframe(
    timescale_database: DatabaseSettings,
) -> None:
    async with open_pool(timescale_database, name="tests") as pool:
        store = CandleStore(pool)
        body = page([kline(m) for m in range(0, 20_000, 7)])
        await store.store_pages("BTCUSDT", [body], final_before_ms=FAR_MS)
        for table in ("candles", "candles_3m", "candles_1h", "candles_1d", "candles_1mo"):
            await pool.execute(f"SELECT compress_chunk(c) FROM show_chunks('{table}') AS c")
        done = await store.store_pages(
            "BTCUSDT", [page([kline(700, close="10.9"), kline(701)])], final_before_ms=FAR_MS
        )
        assert done == StoredPages(changed=2, revised=1)
        assert await assert_rollups_are_exact(pool, "BTCUSDT") == 2859


# Around the ends of months, weeks, a leap day, and changes to and from summer time.
BORDERS = [
    datetime(2024, 2, 29, 23, 40, tzinfo=UTC),
    datetime(2023, 12, 31, 23, 30, tzinfo=UTC),
    datetime(2024, 3, 10, 5, 0, tzinfo=UTC),
    datetime(2024, 11, 3, 4, 0, tzinfo=UTC),
    datetime(2024, 3, 31, 23, 59, tzinfo=UTC),
]
amounts = st.decimals(min_value=0, max_value=10**6, places=8)
minutes = st.builds(
    lambda border, day, minute, price, spread, amount, trades, is_closed: candle(
        open_time_ms=int(border.timestamp()) * 1000 + day * DAY_MS + minute * MINUTE_MS,
        close_time_ms=int(border.timestamp()) * 1000 + day * DAY_MS + (minute + 1) * MINUTE_MS - 1,
        open=price,
        close=price + spread,
        high=price + spread,
        low=price,
        volume=amount,
        quote_volume=amount * 3,
        trades=trades,
        is_closed=is_closed,
    ),
    border=st.sampled_from(BORDERS),
    day=st.integers(0, 1),
    minute=st.integers(0, 90),
    price=amounts,
    spread=amounts,
    amount=amounts,
    trades=st.integers(0, 20),
    is_closed=st.booleans(),
)
writes = st.lists(
    st.tuples(st.lists(minutes, min_size=1, max_size=12), st.booleans()), min_size=1, max_size=5
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(writes=writes)
async def test_every_timeframe_equals_its_minutes_after_every_write(
    either_database: DatabaseSettings, writes: list[tuple[list[Candle], bool]]
) -> None:
    # A session far from UTC, with summer time: no statement may ask for the session's time.
    zone = {"timezone": "America/St_Johns"}
    async with open_pool(either_database, name="tests", server_settings=zone) as pool:
        store = CandleStore(pool)
        symbol = f"S{await pool.fetchval('SELECT count(*) FROM collector_state')}"
        for batch, authoritative in writes:
            await store.store_states(
                [msgspec.structs.replace(one, symbol=symbol) for one in batch],
                authoritative=authoritative,
            )
            await assert_rollups_are_exact(pool, symbol)


async def test_writers_of_the_same_symbols_never_spoil_a_rollup(pool: asyncpg.Pool) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)  # noqa: T201 - to run it again
    rng = random.Random(seed)
    symbols = ["A", "B", "C"]

    def batch() -> list[Candle]:
        chosen = rng.sample(symbols, k=rng.randint(1, 3))
        return [
            candle(
                rng.randint(0, 40),
                symbol=symbol,
                trades=rng.randint(1, 50),
                close=Decimal(rng.randint(1, 1000)),
                is_closed=rng.random() < 0.5,
            )
            for symbol in chosen
            for _ in range(3)
        ]

    async def write(store: CandleStore, batches: list[list[Candle]]) -> None:
        for states in batches:
            if rng.random() < 0.2:
                body = page([kline(rng.randint(0, 40), trades=rng.randint(1, 50))])
                await store.store_pages(rng.choice(symbols), [body], final_before_ms=FAR_MS)
            await store.store_states(states, authoritative=rng.random() < 0.5)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(write(CandleStore(pool), [batch() for _ in range(25)]))
    for symbol in symbols:
        assert await assert_rollups_are_exact(pool, symbol) > 20


async def test_a_power_cut_leaves_minutes_and_rollups_together() -> None:
    with private_postgres() as server:
        migrate(server.settings())
        durable = {"synchronous_commit": "on"}
        async with open_pool(server.settings(), name="tests", server_settings=durable) as pool:
            store = CandleStore(pool)

            async def write(first: int) -> None:
                for start in range(first, first + 40_000, 200):
                    body = page([kline(m) for m in range(start, start + 200)])
                    await store.store_pages("BTCUSDT", [body], final_before_ms=FAR_MS)

            writers = [asyncio.create_task(write(first)) for first in (0, 40_000)]
            # The database has no event to wait for.
            while await pool.fetchval("SELECT count(*) FROM candles") < 2000:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            server.kill()
            for ended in await asyncio.gather(*writers, return_exceptions=True):
                assert isinstance(ended, TransientError)
            with pytest.raises(TransientError):
                await store.store_states([candle()])
            server.start()
            assert await assert_rollups_are_exact(pool, "BTCUSDT") >= 2000
            assert await store.store_states([candle(90_000)]) == [candle(90_000)]
