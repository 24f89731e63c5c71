# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from collector.binance.rest import BinanceRest
from collector.budget import RequestBudget
from collector.clock import ExchangeClock
from collector.ports import SenselessError
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
        assert 0 <= exchange.now_ms() - client.clock.now_ms() < 10_000


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


async def test_background_requests_that_wait_for_the_budget_hold_nothing_up():
    async with (
        running_exchange(weight_limit=6000) as exchange,
        client_of(exchange) as client,
    ):
        await client.rest.exchange_info()
        now_ms = client.clock.now_ms()
        client.budget.spend(2500, now_ms)  # more than the background's part of our 3000
        client.budget.answered(2500, None, now_ms, now_ms)
        background = [
            asyncio.create_task(client.rest.klines("BTCUSDT", start_ms=START, is_background=True))
            for _ in range(20)
        ]
        await asyncio.sleep(0.1)
        try:
            async with asyncio.timeout(4):
                _, rows = await client.rest.klines("BTCUSDT", start_ms=START)
        finally:
            for task in background:
                task.cancel()
        assert len(rows) == 1000


async def test_an_exchange_that_lists_no_symbols_is_not_believed():
    def empty_info(request: web.Request) -> web.Response:
        return web.json_response({"serverTime": START, "rateLimits": [], "symbols": []})

    async with answering(empty_info) as url, aiohttp.ClientSession() as session:
        with pytest.raises(TransientError, match="no symbols"):
            await rest_at(url, session).exchange_info()


@pytest.mark.parametrize(
    "wrong",
    [
        [START, "1", "1", "1", "1", "1e-7", START + 59_999, "1", 1, "0", "0"],
        [START, "1", "1", "1", "1", "-1", START + 59_999, "1", 1, "0", "0"],
        [START, "1", "1", "1", "1", "1", START + 59_999, "1", -1, "0", "0"],
        [START * 1000, "1", "1", "1", "1", "1", START * 1000 + 59_999, "1", 1, "0", "0"],
    ],
    ids=["exponent", "negative", "negative count", "microseconds"],
)
async def test_rows_that_cannot_be_true_do_not_come_in(wrong):
    async with (
        answering(lambda _: web.json_response([wrong])) as url,
        aiohttp.ClientSession() as session,
    ):
        with pytest.raises(SenselessError):
            await rest_at(url, session).klines("BTCUSDT", start_ms=START)


@asynccontextmanager
async def answering(answer: Callable[[web.Request], web.Response]) -> AsyncIterator[str]:
    """Serve one answer to everything."""

    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def rest_at(url: str, session: aiohttp.ClientSession) -> BinanceRest:
    async def forget(_: int) -> None: ...

    return BinanceRest(url, session, RequestBudget(1), ExchangeClock(), forget, 4)
