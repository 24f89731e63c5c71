# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The API server as it runs: real PostgreSQL, Redis, HTTP and WebSockets.

``server`` is a test's own, with a database of its own; ``shared_server`` belongs to all the tests
of a module, which only read.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest

from linkora.database import open_pool
from linkora.pubsub import Publisher
from linkora.settings import DatabaseSettings, RedisSettings
from marketdata import reread
from marketdata.service import run
from testkit.api_server import connected, in_thread, settings_with
from testkit.databases import Databases
from testkit.market import Collector, Server

StartServer = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of this process read again at once, where in operation they wait to save work."""
    monkeypatch.setattr(reread, "REREAD_INTERVAL_S", 0.1)


@pytest.fixture
async def collector(pool: Any, redis_client: Any) -> Collector:
    """Writes and publishes as the collector does."""
    return Collector(pool, Publisher(redis_client))


@pytest.fixture
def start_server(database: DatabaseSettings, redis_settings: RedisSettings) -> StartServer:
    """Start API servers, with settings of their own where given."""

    @asynccontextmanager
    async def start(*, is_healthy: bool = True, **overrides: Any) -> AsyncIterator[Server]:
        settings = settings_with(**{"database": database, "redis": redis_settings, **overrides})
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(run(settings, on_listening=port.set_result))
        waiting = asyncio.wait({task, port}, return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait_for(waiting, 10)
        if task in done:
            await task
        try:
            async with connected(port.result()) as server:
                if is_healthy:
                    await server.until_healthy()
                yield server
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return start


@pytest.fixture
async def server(collector: Collector, start_server: StartServer) -> AsyncIterator[Server]:
    """A server with an hour of BTCUSDT and ETHUSDT, whose newest minute is still running."""
    await collector.fill(["BTCUSDT", "ETHUSDT"], minutes=70)
    async with start_server() as started:
        yield started


@pytest.fixture(scope="module")
def shared_port(databases: Databases, redis_server: RedisSettings) -> Iterator[int]:
    """The port of a server with two days of BTCUSDT and an hour of ETHUSDT, in its own thread."""
    with databases.migrated() as database:
        asyncio.run(_fill(database))
        settings = settings_with(database=database, redis=redis_server)
        with in_thread(settings) as port:
            asyncio.run(_until_healthy(port))
            yield port


@pytest.fixture
async def shared_server(shared_port: int) -> AsyncIterator[Server]:
    """A client for the module's server."""
    async with connected(shared_port) as server:
        yield server


async def _fill(database: DatabaseSettings) -> None:
    async with open_pool(database, name="tests") as pool:
        collector = Collector(pool, None)  # type: ignore[arg-type] - it publishes nothing
        await collector.fill(["BTCUSDT"], minutes=2 * 24 * 60)
        await collector.fill(["ETHUSDT"], minutes=60)


async def _until_healthy(port: int) -> None:
    async with connected(port) as server:
        await server.until_healthy()


@pytest.fixture
def lifted_recursion_limit() -> Iterator[None]:
    """What some libraries do to the whole process when they are imported."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    yield
    sys.setrecursionlimit(before)
