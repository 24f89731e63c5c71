# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The API server as it runs: real PostgreSQL, Redis, HTTP and WebSockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from linkora.pubsub import Publisher
from linkora.settings import DatabaseSettings, RedisSettings, WebSocketSettings
from marketdata.service import run
from marketdata.settings import Settings
from testkit.market import Collector, Server

StartServer = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture
async def collector(pool: Any, redis_client: Any) -> Collector:
    """Writes and publishes as the collector does."""
    return Collector(pool, Publisher(redis_client))


@pytest.fixture
def start_server(database: DatabaseSettings, redis_settings: RedisSettings) -> StartServer:
    """Start API servers, with settings of their own where given."""

    @asynccontextmanager
    async def start(**overrides: Any) -> AsyncIterator[Server]:
        sockets = overrides.pop("websocket", {})
        settings = Settings(
            **{"database": database, "redis": redis_settings, "api_port": 0, **overrides},
            websocket=WebSocketSettings(**sockets),
        )
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(run(settings, on_listening=port.set_result))
        waiting = asyncio.wait({task, port}, return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait_for(waiting, 10)
        if task in done:
            await task
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port.result()}") as client:
                server = Server(client, port.result())
                if overrides.get("wait", True):
                    await server.until_healthy()
                yield server
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return start


@pytest.fixture
async def server(collector: Collector, start_server: StartServer) -> AsyncIterator[Server]:
    """A server with two hours of BTCUSDT and ETHUSDT, whose newest minute is still running."""
    await collector.fill(["BTCUSDT", "ETHUSDT"], minutes=130)
    async with start_server() as started:
        yield started
