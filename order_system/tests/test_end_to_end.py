# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""From the chain to a client: both processes, a real node, PostgreSQL and Redis."""

import asyncio
import contextlib
import fnmatch
import json
import signal
import time

import aiohttp
import pytest
from aiohttp import web
from chainkit.nodes import on_both_nodes
from chainkit.services import SERVICE, environment, get, running

from localchain.node import free_port


@contextlib.asynccontextmanager
async def system(chain, database, redis_settings, **more):
    """Yield the URL of a running order system that follows ``chain``."""
    api, events = free_port(), free_port()
    variables = environment(
        database, redis_settings, WEB3_PROVIDER=chain.rpc_url, TRADING_ADDRESS=chain.address,
        ORDER_API_PORT=str(api), EVENTS_PORT=str(events), **more,
    )  # fmt: skip
    async with running("api", variables), running("events", variables) as process:
        yield f"http://127.0.0.1:{api}", process, variables


async def until(url, is_so, within_s=15.0):
    """Ask until the answer is as wanted; return it and how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while True:
            status, body = await get(url)
            if status == 200 and is_so(body):
                return body, time.monotonic() - began
            await asyncio.sleep(0.02)


async def until_listening(port, within_s=15.0):
    async with asyncio.timeout(within_s):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                return


@on_both_nodes
async def test_orders_reach_rest_and_websocket_within_a_second_of_their_block(
    chain, database, redis_settings
):
    token = await chain.deploy("Token", "SIX", 6)
    user = chain.users[0]
    router = {"ROUTER_ADDRESS": chain.users[2].upper().replace("X", "x")}
    async with system(chain, database, redis_settings, **router) as (url, _, _):
        await until(f"{url}/health", lambda body: body["components"]["event_processor"] == "ACTIVE")
        socket_url = f"{url}/ws?user={user.upper().replace('X', 'x')}&status=pending"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(socket_url) as socket,
        ):
            first = await chain.create(token_out=token, min_amount_out=1_500_000)
            message = json.loads((await socket.receive(5)).data)
            assert message["order"]["id"] == first
            assert message["order"]["min_amount_out"] == "1.5"
            assert message["order"]["executed_via_router"] is None
            await chain.execute(first)
            message = json.loads((await socket.receive(5)).data)
            assert (message["order"]["id"], message["order"]["status"]) == (first, "EXECUTED")
            assert message["order"]["executed_via_router"] is True
        mark = await chain.snapshot()
        second = await chain.create()
        _, took_s = await until(f"{url}/orders/pending", lambda body: body["total"] == 1)
        assert took_s < 1.0
        _, body = await get(f"{url}/orders/{first}")
        order = body["order"]
        assert order["amount_out"] == "1.5"
        assert order["amount_out_raw"] == "1500000"
        assert order["token_out_symbol"] == "SIX"
        assert order["executor_address"] == chain.users[2]
        assert order["executed_via_router"] is True
        third = await chain.create(token_out=token)
        await chain.execute(third, sender=chain.users[1])
        body, _ = await until(f"{url}/orders/executed", lambda body: body["total"] == 2)
        assert [o["executed_via_router"] for o in body["orders"]] == [False, True]
        assert order["order_type"] == "LIMIT"
        block = await chain.rpc.call("eth_getBlockByNumber", hex(order["block_number"]), False)
        assert order["created_at"] == iso(int(block["timestamp"], 16))
        _, body = await get(f"{url}/orders/{first}/events")
        assert [e["event_type"] for e in body["events"]] == ["CREATED", "EXECUTED"]
        _, body = await get(f"{url}/users/{user.upper().replace('X', 'x')}/orders?status=EXECUTED")
        assert [o["id"] for o in body["orders"]] == [third, first]
        _, body = await get(f"{url}/statistics")
        assert body["statistics"]["PENDING"] == {"total": 1, "last_24h": 1}
        # a reorg takes the second order away again
        await (chain.reorg(3) if chain.can_reorg else chain.revert(mark))
        await until(f"{url}/orders/all", lambda body: body["total"] == 1)
        assert (await get(f"{url}/orders/{second}"))[0] == 404


def iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))


async def test_killed_again_and_again_under_traffic_it_ends_complete(
    chain, database, redis_settings
):
    api = free_port()
    variables = environment(
        database, redis_settings, WEB3_PROVIDER=chain.rpc_url, TRADING_ADDRESS=chain.address,
        ORDER_API_PORT=str(api), EVENTS_PORT=str(events := free_port()),
    )  # fmt: skip
    created = 0
    async with running("api", variables):
        for number in range(3):
            async with running("events", variables) as process:
                for _ in range(20):
                    await chain.create()
                    created += 1
                await asyncio.sleep(0.7 + 0.2 * number)
                process.send_signal(signal.SIGKILL)
                await process.wait()
        async with running("events", variables) as process:
            # A signal before the process has set itself up would just end it.
            await until_listening(events)
            url = f"http://127.0.0.1:{api}"
            body, _ = await until(f"{url}/orders/all", lambda body: body["total"] == created, 30)
            ids = {order["id"] for order in body["orders"]}
            assert ids == set(range(1, created + 1))
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 5) == 0
            assert time.monotonic() - began < 5


async def test_health_misses_the_event_processor_once_it_is_silent(chain, database, redis_settings):
    async with system(chain, database, redis_settings, SILENCE_S_MAX="1") as (url, process, _):
        await until(f"{url}/health", lambda body: body["components"]["event_processor"] == "ACTIVE")
        process.send_signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(15):
                while (answer := await get(f"{url}/health"))[0] != 503:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        finally:
            process.send_signal(signal.SIGCONT)
        assert "sign of life" in answer[1]["components"]["problems"][0]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/metrics"])
async def test_the_api_describes_itself(path, database, redis_settings):
    port = free_port()
    variables = environment(database, redis_settings, ORDER_API_PORT=str(port))
    async with running("api", variables), aiohttp.ClientSession() as session:
        await get(f"http://127.0.0.1:{port}/health")
        async with session.get(f"http://127.0.0.1:{port}{path}") as response:
            text = await response.text()
            assert response.status == 200
    assert {"/docs": "GET /orders/{order_id}", "/openapi.json": "OrderView"}.get(path, "") in text
    assert "//" not in text or path != "/docs", "the page asks for something elsewhere"


ENDPOINTS = (
    "/health", "/metrics", "/openapi.json", "/docs", "/statistics", "/orders/pending",
    "/orders/executed", "/orders/cancelled", "/orders/all", "/orders/1", "/orders/1/events",
    "/users/*/orders", "/users/*/positions", "/ws",
)  # fmt: skip


async def test_the_checks_of_test_api_sh_pass_on_a_running_system_and_fail_with_one_endpoint(
    chain, database, redis_settings
):
    await chain.create()
    async with system(chain, database, redis_settings) as (url, _, _):
        await until(f"{url}/orders/all", lambda body: body["total"] == 1)
        code, output = await check_api(url)
        assert code == 0, output
        assert "events of order 1" in output
        assert "websocket" in output
        asked: set[str] = set()
        for broken in ("/users/*/positions", "/ws"):
            async with broken_at(url, broken, asked) as spoilt:
                code, output = await check_api(spoilt)
            assert code == 1, output
            assert output.count("FAILED") == 1, output
        for endpoint in ENDPOINTS:
            assert fnmatch.filter(asked, endpoint), f"{endpoint} is not checked"
    code, output = await check_api(f"http://127.0.0.1:{free_port()}")
    assert code == 1
    assert "ok " not in output


@contextlib.asynccontextmanager
async def broken_at(url, broken, asked):
    """Yield the URL of the same system with one endpoint that answers 500; note what is asked."""

    async def handle(request):
        asked.add(request.path)
        if fnmatch.fnmatch(request.path, broken):
            return web.Response(status=500, text="broken")
        if request.path == "/ws":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.close()
            return socket
        async with (
            aiohttp.ClientSession() as session,
            session.get(url + request.path_qs) as answer,
        ):
            body = await answer.read()
            return web.Response(status=answer.status, body=body, content_type=answer.content_type)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def check_api(url):
    process = await asyncio.create_subprocess_exec(
        str(SERVICE / "test_api.sh"), url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode()
