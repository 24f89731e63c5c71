# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""API servers for tests: their settings, a client, and one that runs in a thread of its own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import aiohttp

from linkora.settings import HttpSettings, WebSocketSettings
from marketdata.service import run
from marketdata.settings import Settings
from testkit.market import Server

START_TIMEOUT_S = 30


def settings_with(**overrides: Any) -> Settings:
    """Return settings for a test: any free port, no rate limit."""
    sockets = WebSocketSettings(**overrides.pop("websocket", {}))
    defaults: dict[str, Any] = {"api_port": 0, "http": HttpSettings(rate_limit=0)}
    return Settings(**{**defaults, **overrides}, websocket=sockets)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Server]:
    """Yield a client for the server on ``port``."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        yield Server(client, port)


@contextmanager
def in_thread(settings: Settings) -> Iterator[int]:
    listening = threading.Event()
    ports: list[int] = []
    tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    def note(port: int) -> None:
        ports.append(port)
        listening.set()

    async def serve() -> None:
        task = asyncio.create_task(run(settings, on_listening=note))
        tasks.append((asyncio.get_running_loop(), task))
        with suppress(asyncio.CancelledError):
            await task

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert listening.wait(START_TIMEOUT_S)
        yield ports[0]
    finally:
        loop, task = tasks[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(START_TIMEOUT_S)
