# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""``WEB3_WS_PROVIDER``: announced heads make it quicker, and nothing depends on them."""

import asyncio
import contextlib
import time

import aiohttp
import pytest
from aiohttp import web
from chainkit.services import environment, running

from localchain.node import free_port
from orders import heads


@contextlib.asynccontextmanager
async def following(chain, database, redis_settings, pool, **more):
    """Run the event processor until it has reached the head."""
    variables = environment(
        database, redis_settings, WEB3_PROVIDER=chain.rpc_url, TRADING_ADDRESS=chain.address,
        EVENTS_PORT=str(free_port()), **more,
    )  # fmt: skip
    async with running("events", variables):
        await until(pool, "SELECT status = 'ACTIVE' FROM system_state")
        yield


async def until(pool, question, within_s=20.0):
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while not await pool.fetchval(question):  # noqa: ASYNC110 - the database does not call
            await asyncio.sleep(0.02)
    return time.monotonic() - began


async def test_an_announced_head_wakes_the_scanner_long_before_it_would_look(
    chain, database, redis_settings, pool
):
    more = {"POLL_INTERVAL_S": "600", "WEB3_WS_PROVIDER": chain.ws_url}
    async with following(chain, database, redis_settings, pool, **more):
        await asyncio.sleep(1.0)  # its last look is over, the next one minutes away
        for number in range(1, 4):
            await chain.create()
            took_s = await until(pool, f"SELECT count(*) >= {number} FROM orders")
            assert took_s < 1.0


@pytest.mark.parametrize("trouble", ["nobody there", "silent", "closing", "talking nonsense"])
async def test_without_announcements_the_scanner_looks_by_itself(
    trouble, chain, database, redis_settings, pool
):
    async with troubled_socket(trouble) as (url, met):
        more = {"POLL_INTERVAL_S": "0.3", "WEB3_WS_PROVIDER": url}
        async with following(chain, database, redis_settings, pool, **more):
            for number in range(1, 4):
                await chain.create()
                await until(pool, f"SELECT count(*) >= {number} FROM orders", 5.0)
        assert trouble == "nobody there" or met


async def test_a_silent_connection_is_given_up_and_opened_anew(monkeypatch):
    monkeypatch.setattr(heads, "SILENCE_S", 0.05)
    async with troubled_socket("silent") as (url, met), aiohttp.ClientSession() as session:
        wake = asyncio.Event()
        listening = asyncio.create_task(heads.listen_for_heads(url, session, wake))
        async with asyncio.timeout(20):
            while len(met) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        listening.cancel()
        assert not wake.is_set()


@contextlib.asynccontextmanager
async def troubled_socket(trouble):
    """Yield the URL of a WebSocket that announces nothing, and a list of who came."""
    met = []

    async def handle(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        met.append(await socket.receive())
        if trouble == "talking nonsense":
            await socket.send_str("<html>")
        if trouble != "closing":
            with contextlib.suppress(ConnectionError):
                async for _ in socket:
                    pass
        return socket

    if trouble == "nobody there":
        yield f"ws://127.0.0.1:{free_port()}", met
        return
    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"ws://127.0.0.1:{port}", met
    finally:
        await runner.cleanup()
