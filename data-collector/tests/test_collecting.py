# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The whole collector, as a process of its own, against the simulated exchange."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from linkora.database import open_pool
from schema.runner import migrate
from simulator.testing import RunningExchange, running_exchange
from testkit.postgres import private_postgres
from testkit.redis_server import private_redis
from testkit.services import Service, running_service

MINUTE = 60_000
SYMBOLS = ("BTCUSDT", "PEPEUSDT")
COLUMNS = """
    symbol, (extract(epoch FROM open_time) * 1000)::bigint AS open_ms, open_price, high_price,
    low_price, close_price, volume, (extract(epoch FROM close_time) * 1000)::bigint AS close_ms,
    quote_volume, trades, taker_buy_volume, taker_buy_quote_volume
"""


@asynccontextmanager
async def collecting(
    exchange: RunningExchange, database: Any, redis_settings: Any, tmp_path: Path, **settings: Any
) -> AsyncIterator[Service]:
    async with running_service(
        "data-collector",
        port_name="COLLECTOR_PORT",
        database=database,
        redis=redis_settings,
        log=tmp_path / "collector.log",
        **{
            "BINANCE_BASE_URL": exchange.rest_url,
            "BINANCE_WS_URL": exchange.ws_url,
            "SYMBOLS": ",".join(SYMBOLS),
            "REQUEST_WEIGHT_SHARE": 1,
            **settings,
        },
    ) as service:
        yield service


def iso(time_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms // 1000))


async def until_history_is_complete(service: Service) -> None:
    async with asyncio.timeout(60):
        while "history_complete" not in service.log.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def stored_minutes(pool: asyncpg.Pool, symbol: str, until_ms: int) -> list[list[Any]]:
    rows = await pool.fetch(
        f"SELECT {COLUMNS} FROM candles WHERE symbol = $1 AND is_closed"
        " AND open_time < to_timestamp($2::float8 / 1000) ORDER BY open_time",
        symbol, until_ms,
    )  # fmt: skip
    return [list(row.values())[1:] for row in rows]


def truth(exchange: RunningExchange, symbol: str, start_ms: int, end_ms: int) -> list[list[Any]]:
    rows = exchange.truth_klines(symbol, start_ms, end_ms - 1)
    numbers = (1, 2, 3, 4, 5, 7, 9, 10)
    return [
        [Decimal(value) if place in numbers else value for place, value in enumerate(row[:11])]
        for row in rows
    ]


@pytest.mark.parametrize("clock_offset_ms", [0, -61_000, 61_000])
async def test_history_is_stored_row_by_row_whatever_our_clock_says(
    clock_offset_ms, pool, database, redis_settings, tmp_path
):
    async with running_exchange(
        symbols=",".join(SYMBOLS), clock_offset_ms=clock_offset_ms
    ) as exchange:
        now_ms = exchange.now_ms()
        start_ms = (now_ms - 5000 * MINUTE) // MINUTE * MINUTE
        async with collecting(
            exchange, database, redis_settings, tmp_path, START_DATE=iso(start_ms)
        ) as collector:
            await collector.until_healthy()
            end_ms = now_ms // MINUTE * MINUTE
            for symbol in SYMBOLS:
                wanted = truth(exchange, symbol, start_ms, end_ms)
                await eventually(partial(stored_minutes, pool, symbol, end_ms), wanted)


async def test_a_minute_closes_as_the_exchange_says_and_is_told_after_it_is_stored(
    pool, database, redis_settings, redis_client, tmp_path
):
    now_ms = int(time.time() * 1000) // MINUTE * MINUTE + 50_000
    async with (
        running_exchange(now_ms=now_ms, symbols=",".join(SYMBOLS)) as exchange,
        redis_client.pubsub() as pubsub,
    ):
        start_ms = now_ms // MINUTE * MINUTE - 10 * MINUTE
        minute_ms = now_ms // MINUTE * MINUTE
        await pubsub.subscribe("candles:all")
        async with collecting(
            exchange, database, redis_settings, tmp_path, START_DATE=iso(start_ms)
        ):
            closed: dict[str, dict[str, Any]] = {}
            running = 0
            async with asyncio.timeout(90):
                while len(closed) < len(SYMBOLS):
                    message = await pubsub.get_message(timeout=1)
                    if message is None or message["type"] != "message":
                        continue
                    candle = json.loads(message["data"])
                    running += not candle["is_closed"]
                    if candle["is_closed"] and candle["timestamp"] == minute_ms:
                        stored = await pool.fetchval(
                            "SELECT is_closed FROM candles WHERE symbol = $1"
                            " AND open_time = to_timestamp($2)",
                            candle["symbol"], minute_ms / 1000,
                        )  # fmt: skip
                        assert stored is True
                        closed[candle["symbol"]] = candle
            assert running > 5
        for symbol in SYMBOLS:
            (row,) = exchange.truth_klines(symbol, minute_ms, minute_ms)
            told = closed[symbol]
            assert [told[k] for k in ("open", "high", "low", "close", "volume")] == row[1:6]
            assert [told["quote_volume"], told["trades"], told["close_time"]] == [
                row[7], row[8], row[6],
            ]  # fmt: skip
            assert [told["taker_buy_volume"], told["taker_buy_quote_volume"]] == row[9:11]
            assert told["revision"] == 0
            last = (await stored_minutes(pool, symbol, minute_ms + MINUTE))[-1]
            assert last == truth(exchange, symbol, minute_ms, minute_ms + 1)[0]


@pytest.mark.parametrize("levels", [20, 100])
async def test_order_books_are_told_and_stored(
    levels, pool, database, redis_settings, redis_client, tmp_path
):
    async with running_exchange(symbols="BTCUSDT") as exchange, redis_client.pubsub() as pubsub:
        await pubsub.subscribe("orderbook:BTCUSDT")
        async with collecting(
            exchange, database, redis_settings, tmp_path,
            START_DATE=iso(exchange.now_ms() - 10 * MINUTE), SYMBOLS="BTCUSDT",
            ORDERBOOK_LEVELS=levels, ORDERBOOK_UPDATE_INTERVAL=0.2,
        ):  # fmt: skip
            books: list[dict[str, Any]] = []
            async with asyncio.timeout(60):
                while len(books) < 5:
                    message = await pubsub.get_message(timeout=1)
                    if message is not None and message["type"] == "message":
                        books.append(json.loads(message["data"]))
    for book in books:
        bids, asks = ([Decimal(x["price"]) for x in book[side]] for side in ("bids", "asks"))
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert bids[0] < asks[0]
        assert len(bids) == len(asks) == levels
    numbers = [row["last_update_id"] for row in await pool.fetch("SELECT * FROM orderbook_data")]
    assert {book["last_update_id"] for book in books} <= set(numbers)


async def test_health_tells_what_is_collected(database, redis_settings, tmp_path):
    async with (
        running_exchange(symbols="BTCUSDT") as exchange, collecting(
            exchange, database, redis_settings, tmp_path,
            SYMBOLS="BTCUSDT,NOSUCHUSDT", START_DATE=iso(exchange.now_ms() - 600_000),
        ) as collector,
        aiohttp.ClientSession() as session,
    ):  # fmt: skip
        await collector.until_healthy()
        async with session.get(f"{collector.url}/health") as answer:
            told = await answer.json()
        assert told["symbols"] == ["BTCUSDT"]
        assert told["symbols_left_out"] == {"NOSUCHUSDT": "the exchange does not know it"}
        async with session.get(f"{collector.url}/metrics") as answer:
            assert "collector_used_weight" in await answer.text()


async def logged(service: Service, event: str, count: int = 1, timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while service.log.read_text().count(f'"{event}"') < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_an_outage_of_the_exchange_is_explained_and_a_truncated_close_kept(
    pool, database, redis_settings, tmp_path
):
    async with running_exchange(symbols="BTCUSDT") as exchange:
        day_ms = exchange.now_ms() // MINUTE * MINUTE - 3000 * MINUTE
        down_ms, back_ms = day_ms + 100 * MINUTE + 30_000, day_ms + 500 * MINUTE
        exchange.act("outage", start_ms=down_ms, end_ms=back_ms, symbol="BTCUSDT")
        async with collecting(
            exchange, database, redis_settings, tmp_path,
            SYMBOLS="BTCUSDT", START_DATE=iso(day_ms), GAP_RETRY_S=0.1, GAP_CONFIRMATIONS=2,
        ) as collector:  # fmt: skip
            await until_history_is_complete(collector)
            states = "SELECT array_agg(state) FROM candle_gaps"
            await eventually(lambda: pool.fetchval(states), ["explained"])
        (gap,) = await pool.fetch("SELECT * FROM candle_gaps")
        assert (gap["state"], gap["reason"]) == ("explained", "exchange_had_none")
        assert gap["from_time"].timestamp() * 1000 == day_ms + 101 * MINUTE
        assert gap["to_time"].timestamp() * 1000 == back_ms
        stored = await stored_minutes(pool, "BTCUSDT", day_ms + 3000 * MINUTE)
        assert stored == truth(exchange, "BTCUSDT", day_ms, day_ms + 3000 * MINUTE)
        (last,) = [row for row in stored if row[0] == day_ms + 100 * MINUTE]
        assert last[6] < day_ms + 101 * MINUTE - 1


async def test_minutes_that_the_exchange_lacked_for_a_while_are_repaired(
    pool, database, redis_settings, tmp_path
):
    async with running_exchange(symbols="BTCUSDT", rest_lag_ms=0) as exchange:
        start_ms = exchange.now_ms() // MINUTE * MINUTE - 300 * MINUTE
        exchange.act("fault_next", kinds=["garbage", "html", "cut"])
        async with collecting(
            exchange, database, redis_settings, tmp_path,
            SYMBOLS="BTCUSDT", START_DATE=iso(start_ms), GAP_RETRY_S=0.1,
        ) as collector:  # fmt: skip
            await until_history_is_complete(collector)
            # A hole, as if someone had deleted rows or an answer had lacked them.
            await pool.execute("DELETE FROM candles WHERE open_time = to_timestamp($1)",
                               (start_ms + 50 * MINUTE) / 1000)  # fmt: skip
            await pool.execute(
                "INSERT INTO candle_gaps (symbol, from_time, to_time) VALUES"
                " ('BTCUSDT', to_timestamp($1), to_timestamp($1 + 60))",
                (start_ms + 50 * MINUTE) / 1000,
            )
            await logged(collector, "gap_retried")
            await eventually(lambda: pool.fetchval("SELECT state FROM candle_gaps"), "repaired")
        end_ms = start_ms + 298 * MINUTE
        stored = await stored_minutes(pool, "BTCUSDT", end_ms)
        assert stored == truth(exchange, "BTCUSDT", start_ms, end_ms)


async def test_a_wrong_row_in_old_history_is_found_and_corrected(
    pool, database, redis_settings, tmp_path
):
    async with running_exchange(symbols="BTCUSDT") as exchange:
        start_ms = (exchange.now_ms() // 86_400_000 - 2) * 86_400_000
        async with collecting(
            exchange, database, redis_settings, tmp_path,
            SYMBOLS="BTCUSDT", START_DATE=iso(start_ms),
        ) as collector:  # fmt: skip
            await until_history_is_complete(collector)
        # The exchange corrects a minute of the day before yesterday while nobody looks.
        wrong_ms = start_ms + 700 * MINUTE
        exchange.act("revise", symbol="BTCUSDT", open_ms=wrong_ms)
        async with collecting(
            exchange, database, redis_settings, tmp_path,
            SYMBOLS="BTCUSDT", START_DATE=iso(start_ms),
        ) as collector:  # fmt: skip
            await logged(collector, "day_differed")
        end_ms = start_ms + 2880 * MINUTE
        stored = await stored_minutes(pool, "BTCUSDT", end_ms)
        assert stored == truth(exchange, "BTCUSDT", start_ms, end_ms)
        revised = await pool.fetch("SELECT revision FROM candles WHERE revision > 0")
        assert [row["revision"] for row in revised] == [1]


async def test_when_one_of_two_collectors_dies_the_other_takes_over_with_nothing_missing(
    pool, database, redis_settings, tmp_path
):
    async with running_exchange(symbols=",".join(SYMBOLS)) as exchange:
        start_ms = exchange.now_ms() // MINUTE * MINUTE - 60 * MINUTE
        (tmp_path / "other").mkdir()
        common = {"START_DATE": iso(start_ms)}
        async with collecting(exchange, database, redis_settings, tmp_path, **common) as first:
            await logged(first, "symbols_assigned")
            async with collecting(
                exchange, database, redis_settings, tmp_path / "other", **common
            ) as second:
                await logged(first, "symbols_assigned", 2)
                await logged(second, "symbols_assigned")
                await second.kill()
                await logged(first, "symbols_assigned", 3, timeout_s=40)
            end_ms = exchange.now_ms() // MINUTE * MINUTE
            for symbol in SYMBOLS:
                wanted = truth(exchange, symbol, start_ms, end_ms)
                await eventually(partial(stored_minutes, pool, symbol, end_ms), wanted)


async def eventually(ask: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Ask until the answer is the wanted one; fail with the difference after a while."""
    for _ in range(150):
        if await ask() == wanted:
            return
        await asyncio.sleep(0.2)
    assert await ask() == wanted


async def test_polling_alone_keeps_the_running_minute_going(
    pool, database, redis_settings, redis_client, tmp_path
):
    async with running_exchange(symbols="BTCUSDT") as exchange, redis_client.pubsub() as pubsub:
        await pubsub.subscribe("candles:BTCUSDT")
        async with collecting(
            exchange, database, redis_settings, tmp_path, SYMBOLS="BTCUSDT",
            REALTIME_SOURCE="poll", START_DATE=iso(exchange.now_ms() - 600_000),
        ):  # fmt: skip
            states = set()
            async with asyncio.timeout(60):
                while len(states) < 4:
                    message = await pubsub.get_message(timeout=1)
                    if message is not None and message["type"] == "message":
                        states.add(json.loads(message["data"])["trades"])
        assert exchange.counters["frames_sent"] == 0


@pytest.mark.parametrize(("switches", "days"), [({}, 40), ({"archive_wrong_checksum": True}, 20)])
async def test_months_come_from_the_archive_and_the_rest_by_rest(
    switches, days, pool, database, redis_settings, tmp_path
):
    async with running_exchange(symbols="BTCUSDT", **switches) as exchange:
        start_ms = (exchange.now_ms() // 86_400_000 - days) * 86_400_000 + 7 * MINUTE
        async with collecting(
            exchange, database, redis_settings, tmp_path, SYMBOLS="BTCUSDT",
            START_DATE=iso(start_ms), BINANCE_ARCHIVE_URL=exchange.rest_url,
        ) as collector:  # fmt: skip
            await until_history_is_complete(collector)
        end_ms = exchange.now_ms() // MINUTE * MINUTE - 5 * MINUTE
        stored = await stored_minutes(pool, "BTCUSDT", end_ms)
        assert stored == truth(exchange, "BTCUSDT", start_ms, end_ms)
        klines = exchange.counters["requests /api/v3/klines"]
        assert klines < 30 if not switches else klines > 25


async def test_a_start_while_everything_is_away_waits_and_then_lacks_nothing(tmp_path):
    with private_postgres() as postgres, private_redis() as redis:
        migrate(postgres.settings())
        postgres.stop()
        redis.stop()
        async with running_exchange(symbols="BTCUSDT") as exchange:
            start_ms = exchange.now_ms() // MINUTE * MINUTE - 30 * MINUTE
            exchange.act("down", seconds=6, mode="refuse")
            async with collecting(
                exchange, postgres.settings(), redis.settings(), tmp_path,
                SYMBOLS="BTCUSDT", START_DATE=iso(start_ms),
            ) as collector:  # fmt: skip
                await logged(collector, "start_waits")
                async with (
                    aiohttp.ClientSession() as session,
                    session.get(f"{collector.url}/health") as answer,
                ):
                    assert answer.status == 503
                    assert (await answer.json())["database"] == "unhealthy"
                await asyncio.to_thread(postgres.start)
                await asyncio.to_thread(redis.start)
                await collector.until_healthy()
                end_ms = exchange.now_ms() // MINUTE * MINUTE
                wanted = truth(exchange, "BTCUSDT", start_ms, end_ms)
                async with open_pool(postgres.settings(), name="tests") as pool:
                    stored = partial(stored_minutes, pool, "BTCUSDT", end_ms)
                    await eventually(stored, wanted)
