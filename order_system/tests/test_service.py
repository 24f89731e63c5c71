# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The two processes as an operator starts them."""

import asyncio
import signal
import sys

import aiohttp
import pytest
from chainkit.services import SERVICE, environment, get, running

from localchain.node import free_port


@pytest.mark.parametrize(
    ("name", "port_name", "path"),
    [("api", "ORDER_API_PORT", "/orders/all"), ("events", "EVENTS_PORT", "/metrics")],
)
async def test_without_a_chain_both_services_are_healthy_say_so_and_end_cleanly(
    name, port_name, path, database, redis_settings
):
    port = free_port()
    variables = environment(database, redis_settings, **{port_name: str(port)})
    async with running(name, variables) as process:
        status, body = await get(f"http://127.0.0.1:{port}/health")
        assert status == 200
        assert "NOT_CONFIGURED" in str(body)
        url = f"http://127.0.0.1:{port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [("TRADING_ADDRESS", "0x12"), ("WEB3_PROVIDER", "localhost:8545"), ("CONFIRMATIONS", "-1")],
)
async def test_wrong_setting_ends_the_process_at_once_and_is_named(variable, value, database):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "main.py", "api", cwd=SERVICE, stderr=asyncio.subprocess.PIPE,
        env=environment(database, **{variable: value}),
    )  # fmt: skip
    _, stderr = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert variable in stderr.decode()
    assert value in stderr.decode()


async def test_unknown_service_name_is_refused(database):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "main.py", "both", cwd=SERVICE, stderr=asyncio.subprocess.PIPE,
        env=environment(database),
    )  # fmt: skip
    _, stderr = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert "api | events" in stderr.decode()
