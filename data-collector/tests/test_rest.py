# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from collector.binance.rest import BinanceRest
from collector.budget import RequestBudget
from collector.clock import ExchangeClock
from linkora.errors import RejectedError, TransientError
from simulator.testing import RunningExchange, running_exchange

START = 1_704_067_200_000
MINUTE = 60_000


class Client:
    """A client of the simulated exchange, and what it was told."""

    def __init__(self, rest: BinanceRest, budget: RequestBudget, clock: ExchangeClock) -> None:
        self.rest = rest
        self.budget = budget
        self.clock = clock
        self.bans: list[int] = []


@asynccontextmanager
async def client_of(exchange: RunningExchange, *, timeout_s: float = 5) -> AsyncIterator[Client]:
    budget, clock = RequestBudget(share=0.5), ExchangeClock()
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def remember(until_ms: int) -> None:
            client.bans.append(until_ms)

        rest = BinanceRest(exchange.rest_url, session, budget, clock, remember, 4)
        client = Client(rest, budget, clock)
        yield client


async def test_a_page_is_what_the_exchange_says_row_by_row():
    async with running_exchange() as exchange, client_of(exchange) as client:
        _, rows = await client.rest.klines("BTCUSDT", start_ms=START, end_ms=START + 999 * MINUTE)
        truth = exchange.truth_klines("BTCUSDT", START, START + 999 * MINUTE)
    assert len(rows) == 1000
    assert [[r.open_time_ms, r.open, r.volume, r.close_time_ms, r.trades] for r in rows] == [
        [t[0], t[1], t[5], t[6], t[8]] for t in truth
    ]


async def test_our_clock_is_the_exchanges_and_never_ahead_of_it():
    async with (
        running_exchange(clock_offset_ms=-3_600_000) as exchange,
        client_of(exchange) as client,
    ):
        await client.rest.server_time()
        assert 0 <= exchange.now_ms() - client.clock.now_ms() < 500


async def test_the_budget_takes_over_limit_and_used_weight():
    async with running_exchange(weight_limit=1000) as exchange, client_of(exchange) as client:
        await client.rest.exchange_info()
        await client.rest.depth("BTCUSDT", 1000)
        assert client.budget.allowed_weight == 500
        assert client.budget.used_weight >= 70


async def test_an_unknown_symbol_is_refused_for_good():
    async with running_exchange() as exchange, client_of(exchange) as client:
        with pytest.raises(RejectedError, match="-1121 Invalid symbol"):
            await client.rest.klines("NOSUCHUSDT", start_ms=START)


@pytest.mark.parametrize("kind", ["5xx", "html", "cut", "garbage", "slow"])
async def test_the_exchanges_troubles_pass(kind):
    async with (
        running_exchange(slow_ms=3000) as exchange,
        client_of(exchange, timeout_s=1) as client,
    ):
        exchange.act("fault_next", kinds=[kind])
        with pytest.raises(TransientError):
            await client.rest.klines("BTCUSDT", start_ms=START)
        _, rows = await client.rest.klines("BTCUSDT", start_ms=START)
        assert len(rows) == 1000


async def test_an_exchange_that_is_away_passes():
    async with client_of_nobody() as client:
        with pytest.raises(TransientError):
            await client.rest.server_time()


@asynccontextmanager
async def client_of_nobody() -> AsyncIterator[Client]:
    async with running_exchange() as exchange:
        gone = exchange
    async with client_of(gone) as client:
        yield client


@pytest.mark.parametrize("kind", ["429", "418"])
async def test_after_a_refusal_nobody_asks_before_its_time(kind):
    async with (
        running_exchange(fault_retry_after_s=2, fault_ban_s=2) as exchange,
        client_of(exchange) as client,
    ):
        await client.rest.server_time()
        exchange.act("fault_next", kinds=[kind])
        with pytest.raises(TransientError) as refusal:
            await client.rest.klines("BTCUSDT", start_ms=START)
        assert refusal.value.retry_after_s == pytest.approx(2, abs=0.3)
        assert client.bans[-1] == client.budget.pause_until_ms
        refused_at, before = exchange.now_ms(), exchange.counters["requests"]
        calls = [client.rest.klines("BTCUSDT", start_ms=START) for _ in range(5)]
        waiting = asyncio.gather(*calls)
        await asyncio.sleep(1.5)
        assert exchange.counters["requests"] == before
        assert all(len(rows) == 1000 for _, rows in await waiting)
        assert exchange.now_ms() - refused_at >= 1700
        assert exchange.counters["requests_while_banned"] == 0
        assert exchange.counters["requests_while_limited"] == 0
