# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The order API says which neighbour is away: to whoever asks, and to every socket."""

import asyncio
import contextlib
import random

import aiohttp
from chainkit.proxy import flaky
from chainkit.services import environment, get, running

from localchain.node import free_port
from testkit.redis_server import private_redis

PATIENCE_S = 30


@contextlib.asynccontextmanager
async def order_api(chain, database, redis, node_url):
    """Yield the URL of a running order API, with an event processor beside it."""
    events, api = free_port(), free_port()
    variables = environment(
        database, redis, WEB3_PROVIDER=node_url, TRADING_ADDRESS=chain.address,
        ORDER_API_PORT=str(api), EVENTS_PORT=str(events), SILENCE_S_MAX="2",
    )  # fmt: skip
    async with running("api", variables), running("events", variables):
        yield f"127.0.0.1:{api}"


async def components(url, status):
    """Return the components once ``/health`` answers with ``status``."""
    seen = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (seen := await get(f"http://{url}/health"))[0] != status:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"never {status}: {seen}") from None
    return seen[1]["components"]


async def next_status(socket):
    """Return the next message of type ``status``."""
    async with asyncio.timeout(PATIENCE_S):
        while (message := await socket.receive_json())["type"] != "status":
            pass
    return message


async def test_a_chain_that_is_away_is_told_after_a_while_with_the_age_of_what_is_served(
    chain, database, redis_settings
):
    await chain.create()
    async with (
        flaky(chain.rpc_url, random.Random(1), rate=0.0, faults=("http_500",)) as node,
        order_api(chain, database, redis_settings, node.url) as url,
        aiohttp.ClientSession() as session,
    ):
        well = await components(url, 200)
        while well["event_processor"] != "ACTIVE":
            well = await components(url, 200)
        async with session.ws_connect(f"http://{url}/ws") as socket:
            node.rate = 1.0
            ill = await components(url, 503)
            (problem,) = ill["problems"]
            assert problem.startswith("not at the head for ")
            assert "500" in problem
            assert ill["last_block_time"] == well["last_block_time"] > "2020"
            told = await next_status(socket)
            assert told["overall_status"] == "unhealthy"
            assert told["components"]["problems"]
            node.rate = 0.0
            assert (await components(url, 200))["problems"] == []
            assert (await next_status(socket))["overall_status"] == "healthy"


async def test_redis_away_is_told_and_its_return(chain, database):
    with private_redis() as redis:
        async with (
            order_api(chain, database, redis.settings(), chain.rpc_url) as url,
            aiohttp.ClientSession() as session,
        ):
            assert (await components(url, 200))["redis"] == "HEALTHY"
            async with session.ws_connect(f"http://{url}/ws") as socket:
                redis.kill()
                ill = await components(url, 503)
                assert (ill["redis"], ill["database"]) == ("UNHEALTHY", "HEALTHY")
                assert "redis" in ill["redis_error"]
                assert (await get(f"http://{url}/orders/all"))[0] == 200
                assert (await next_status(socket))["components"]["redis"] == "UNHEALTHY"
                redis.start()
                assert "redis_error" not in await components(url, 200)
                assert (await next_status(socket))["components"]["redis"] == "HEALTHY"
