# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The collector under everything at once: nothing may be missing, doubled or different.

Short in a usual run; ``SOAK_MINUTES=20 pytest -s tests/chaos`` is the long one. ``SOAK_SEED``
repeats a run's schedule and faults.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from linkora.database import open_pool
from linkora.timeframes import MINUTE_MS
from schema.runner import migrate
from simulator.testing import RunningExchange, running_exchange
from testkit.postgres import Postgres, private_postgres
from testkit.redis_server import RedisServer, private_redis
from testkit.services import Service, running_service

MINUTES = float(os.environ.get("SOAK_MINUTES", "1.5"))
SEED = int(os.environ.get("SOAK_SEED", time.time()))
SYMBOLS = "BTCUSDT,ETHUSDT,PEPEUSDT"
HISTORY_MINUTES = 6 * 24 * 60
SETTLE_S = 120.0
# Five percent of all requests go wrong, in every way that the exchange knows.
FAULTS = {
    "fault_429": 0.004, "fault_418": 0.001, "fault_5xx": 0.012, "fault_html": 0.005,
    "fault_cut": 0.01, "fault_slow": 0.008, "fault_garbage": 0.01, "slow_ms": 4_000,
    "fault_ban_s": 5, "stream_drop_rate": 0.02, "stream_silence_rate": 0.01,
    "close_late_jitter_ms": 3_000, "rest_lag_ms": 1_500, "revision_rate": 0.05,
    "diff_drop_rate": 0.01, "diff_duplicate_rate": 0.01,
}  # fmt: skip
CALM = dict.fromkeys(FAULTS, 0) | {"slow_ms": 4_000, "fault_ban_s": 5}
NUMBERS = (1, 2, 3, 4, 5, 7, 9, 10)

STORED = """
SELECT (extract(epoch FROM open_time) * 1000)::bigint, open_price, high_price, low_price,
       close_price, volume, (extract(epoch FROM close_time) * 1000)::bigint, quote_volume, trades,
       taker_buy_volume, taker_buy_quote_volume
FROM candles WHERE symbol = $1 AND is_closed ORDER BY open_time
"""


class Stage:
    """Everything that runs, and what can be done to it."""

    def __init__(
        self,
        exchange: RunningExchange,
        postgres: Postgres,
        redis: RedisServer,
        collector: Service,
    ) -> None:
        self.exchange = exchange
        self.postgres = postgres
        self.redis = redis
        self.collector = collector

    async def kill_collector(self) -> None:
        await self.collector.kill()
        await asyncio.sleep(1)
        await self.collector.start()

    async def restart_database(self) -> None:
        await asyncio.to_thread(self.postgres.kill)
        await asyncio.sleep(5)
        await asyncio.to_thread(self.postgres.start)

    async def restart_redis(self) -> None:
        await asyncio.to_thread(self.redis.kill)
        await asyncio.sleep(3)
        await asyncio.to_thread(self.redis.start)

    async def freeze_database(self) -> None:
        self.postgres.freeze()
        await asyncio.sleep(4)
        self.postgres.thaw()

    async def close_exchange(self) -> None:
        self.exchange.act("down", seconds=8, mode=random.choice(["503", "refuse"]))
        await asyncio.sleep(8)

    async def cut_streams(self) -> None:
        self.exchange.act("drop_streams")

    async def silence_streams(self) -> None:
        self.exchange.act("silence_streams")


@asynccontextmanager
async def stage(tmp_path: Path, start_ms: int, **switches: Any) -> AsyncIterator[Stage]:
    with private_postgres() as postgres, private_redis() as redis:
        migrate(postgres.settings())
        async with (
            running_exchange(
                symbols=SYMBOLS, seed=str(SEED), zero_trade_rate=0.05, **switches
            ) as exchange,
            running_service(
                "data-collector", port_name="COLLECTOR_PORT", database=postgres.settings(),
                redis=redis.settings(), log=tmp_path / "collector.log",
                BINANCE_BASE_URL=exchange.rest_url, BINANCE_WS_URL=exchange.ws_url,
                SYMBOLS=SYMBOLS, GAP_RETRY_S=2, REQUEST_TIMEOUT_S=3, STREAM_SILENCE_S=3,
                START_DATE=time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(start_ms / 1000)),
            ) as collector,
        ):  # fmt: skip
            yield Stage(exchange, postgres, redis, collector)


def truth(exchange: RunningExchange, symbol: str, start_ms: int, end_ms: int) -> list[list[Any]]:
    return [
        [Decimal(v) if place in NUMBERS else v for place, v in enumerate(row[:11])]
        for row in exchange.truth_klines(symbol, start_ms, end_ms - 1)
    ]


async def differences(
    pool: asyncpg.Pool, exchange: RunningExchange, symbol: str, start_ms: int, end_ms: int
) -> list[Any]:
    rows = [list(row.values()) for row in await pool.fetch(STORED, symbol)]
    stored = {row[0]: row for row in rows if row[0] < end_ms}
    told = {row[0]: row for row in truth(exchange, symbol, start_ms, end_ms)}
    return [
        (open_ms, stored.get(open_ms), told.get(open_ms))
        for open_ms in sorted(stored.keys() | told.keys())
        if stored.get(open_ms) != told.get(open_ms)
    ]


async def settled(pool: asyncpg.Pool, exchange: RunningExchange, start_ms: int) -> dict[str, Any]:
    """Wait until the stored minutes equal the exchange's; return what still differs."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        end_ms = (exchange.now_ms() - 10_000) // MINUTE_MS * MINUTE_MS
        left = {
            symbol: found
            for symbol in SYMBOLS.split(",")
            if (found := await differences(pool, exchange, symbol, start_ms, end_ms))
        }
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(2)


def schedule(rng: random.Random, scene: Stage) -> list[tuple[float, Callable[[], Awaitable[None]]]]:
    """The troubles of this run, each with its second; each kind at least once."""
    kinds = [
        scene.kill_collector, scene.restart_database, scene.restart_redis, scene.freeze_database,
        scene.close_exchange, scene.cut_streams, scene.silence_streams,
    ]  # fmt: skip
    more = [rng.choice(kinds) for _ in range(int(MINUTES * 2))]
    return sorted(
        ((rng.uniform(3, MINUTES * 60), kind) for kind in kinds + more), key=lambda x: x[0]
    )


@pytest.mark.timeout(MINUTES * 60 + SETTLE_S + 120)
async def test_after_every_trouble_the_stored_minutes_are_the_exchanges(tmp_path):
    print(f"SOAK_SEED={SEED} SOAK_MINUTES={MINUTES}")
    rng = random.Random(SEED)
    start_ms = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS - HISTORY_MINUTES * MINUTE_MS
    async with stage(tmp_path, start_ms, **FAULTS) as scene:
        began = time.monotonic()
        for second, trouble in schedule(rng, scene):
            await asyncio.sleep(max(0, began + second - time.monotonic()))
            print(f"{time.monotonic() - began:6.1f} s {trouble.__name__}")
            await trouble()
        await asyncio.sleep(max(0, began + MINUTES * 60 - time.monotonic()))
        scene.exchange.control(**CALM)
        async with open_pool(scene.postgres.settings(), name="soak") as pool:
            left = await settled(pool, scene.exchange, start_ms)
            assert left == {}, f"seed {SEED}, differing: {left}\n{scene.collector.tail()}"
            rows, revised, minutes, latest = await pool.fetchrow(
                "SELECT count(*), count(*) FILTER (WHERE revision > 0),"
                " count(DISTINCT open_time), max(open_time) FROM candles WHERE is_closed"
            )
            naive = await pool.fetchrow("SELECT sum(volume), sum(trades) FROM candles")
            rolled = await pool.fetchrow("SELECT sum(volume), sum(trades) FROM candles_1mo")
            assert tuple(naive) == tuple(rolled)
        async with aiohttp.ClientSession() as session:
            await scene.collector.until_healthy(90)
            async with session.get(f"{scene.collector.url}/health") as answer:
                assert answer.status == 200
        counters = scene.exchange.counters
        print(
            f"{rows} candles of {minutes} minutes until {latest} equal the exchange's, {revised}"
            f" revised; {counters['requests']} requests; asked although told to wait:"
            f" {counters['requests_while_banned']} banned, {counters['requests_while_limited']}"
            f" limited; streams cut {counters['connections_dropped']}, silenced"
            f" {counters['connections_silenced']}"
        )
        assert minutes >= HISTORY_MINUTES
        assert counters["requests_while_banned"] == 0
