# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import contextlib
import signal
import socket
import sys
import textwrap

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from linkora.runtime import serve_http, supervise

SERVICE = """
import asyncio
from linkora.runtime import start, supervise
from linkora.settings import ServiceSettings

async def endless():
    try:
        print("running", flush=True)
        await asyncio.Event().wait()
    finally:
        print("closed", flush=True)

async def other():
    {other}

async def run(settings):
    await supervise(endless(), other())

start("test", ServiceSettings, run)
"""


async def service(other: str) -> asyncio.subprocess.Process:
    code = SERVICE.format(other=textwrap.indent(other, "    ").strip())
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_closes_everything_and_exits_with_zero(number):
    process = await service("await asyncio.Event().wait()")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"running\n"
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, out) == (0, b"closed\n")
    assert b"service_stopped" in err


@pytest.mark.parametrize("ending", ["raise ValueError('broken')", "return"])
async def test_the_first_loop_that_ends_takes_the_process_down(ending):
    process = await service(f"await asyncio.sleep(0.2)\n{ending}")
    out, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, out) == (1, b"running\nclosed\n")
    assert b"service_failed" in err


async def test_a_failing_loop_cancels_the_others():
    cancelled = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError("broken")

    with pytest.raises(ExceptionGroup) as failure:
        await supervise(endless(), failing())
    assert failure.group_contains(ValueError, match="broken")
    assert cancelled.is_set()


async def test_a_request_under_way_is_answered_when_the_server_stops():
    asked = asyncio.Event()

    async def slow(_: Request) -> PlainTextResponse:
        asked.set()
        await asyncio.sleep(0.5)
        return PlainTextResponse("done")

    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    app = Starlette(routes=[Route("/", slow)])
    server = asyncio.create_task(
        serve_http(app, host="127.0.0.1", port=0, on_listening=port.set_result)
    )
    async with aiohttp.ClientSession() as session:
        answer = asyncio.create_task(session.get(f"http://127.0.0.1:{await port}/"))
        await asked.wait()
        server.cancel()
        assert await (await answer).text() == "done"
    with contextlib.suppress(asyncio.CancelledError):
        await server


async def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            await serve_http(Starlette(), host="127.0.0.1", port=port)
