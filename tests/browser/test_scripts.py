# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The scripts of demo/ as a person runs them, against the running product."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from testkit.processes import free_port

ROOT = Path(__file__).parents[2]
SCRIPTS = ("orderbook_demo", "websocket_demo", "orders_demo", "api_test", "research")
WIDTH = 160
NARROW = 80
TIMEOUT_S = 60

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def started(
    script: str, *arguments: str, cwd: Path = ROOT, width: int = WIDTH
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "demo" / f"{script}.py"), *arguments, cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir(), "COLUMNS": str(width)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def run(
    script: str, *arguments: str, cwd: Path = ROOT, width: int = WIDTH
) -> tuple[int, str]:
    process = await started(script, *arguments, cwd=cwd, width=width)
    async with asyncio.timeout(TIMEOUT_S):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def places(product) -> list[str]:
    return ["--api", product.api.url, "--orders", product.order_api.url]


async def test_api_test_finds_nothing_wrong(product):
    await product.chain.create()
    code, output = await run("api_test", *places(product))
    assert code == 0, output
    assert re.search(r"\d\d ok, 0 failed", output)


@asynccontextmanager
async def lying_about_volume(url: str) -> AsyncIterator[str]:
    """A server in front of the API that doubles the volume of five-minute candles."""

    async def answer(request: web.Request) -> web.Response:
        async with session.get(f"{url}{request.rel_url}", allow_redirects=False) as real:
            body = await real.read()
            kind = real.headers.get("content-type", "")
            if request.path == "/candles" and request.query.get("timeframe") == "5":
                body = re.sub(rb'"volume":"(\d)', rb'"volume":"1\1', body)
            return web.Response(body=body, status=real.status, headers={"content-type": kind})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    async with aiohttp.ClientSession() as session:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", free_port())
        await site.start()
        yield site.name
        await runner.cleanup()


async def test_api_test_notices_a_candle_that_is_not_the_sum_of_its_minutes(product):
    async with lying_about_volume(product.api.url) as liar:
        code, output = await run("api_test", "--api", liar, "--only", "market")
    assert code == 1
    failed = [line for line in output.splitlines() if "FAILED" in line]
    assert any("candles 5: equal to their parts" in line for line in failed), output
    assert not any("candles 15: equal to their parts" in line for line in failed)


async def test_the_order_book_is_printed_once_if_so_wanted(product):
    code, output = await run("orderbook_demo", *places(product), "--once", "--levels", "5")
    assert code == 0, output
    assert "BTCUSDT" in output
    assert "bp" in output
    assert output.count("█") > 20


async def test_candles_of_several_timeframes_are_shown_side_by_side(product):
    code, output = await run(
        "websocket_demo", *places(product), "--seconds", "3", "--timeframes", "1", "45", "1M"
    )
    assert code == 0, output
    for name in ("timeframe", "45", "1M", "close", "volume"):
        assert name in output
    updates = next(line for line in output.splitlines() if "updates" in line)
    assert all(int(count) >= 1 for count in re.findall(r"\d+", updates))


async def test_orders_and_their_statistics_are_shown(product):
    order_id = await product.chain.create()
    async with asyncio.timeout(10):
        output = ""
        while f"#{order_id} " not in output:
            code, output = await run("orders_demo", *places(product), "--once")
            assert code == 0, output
    assert "pending" in output


async def test_orders_are_readable_in_a_terminal_of_80_columns(product):
    order_id = await product.chain.create(amount_in=2**256 - 1, target_price=2**256 - 1)
    async with asyncio.timeout(10):
        output = ""
        while f"#{order_id} " not in output:
            code, output = await run("orders_demo", *places(product), "--once", width=NARROW)
            assert code == 0, output
    row = next(line for line in output.splitlines() if f"#{order_id} " in line)
    for word in ("limit", "pending", "1.1579209e+", datetime.now(UTC).strftime("%m-%d")):
        assert word in row, output
    assert "…" not in row.replace("0x", "").rpartition("pending")[0], output


async def test_research_loads_every_stored_minute_and_draws_them(product, tmp_path):
    code, output = await run("research", *places(product), "--output", "r.png", cwd=tmp_path)
    assert code == 0, output
    match = re.search(r"([\d,]+) candles", output)
    assert match is not None
    assert int(match[1].replace(",", "")) >= 3 * 24 * 60
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


async def test_live_scripts_end_cleanly_when_interrupted(product):
    async def interrupted(script: str, number: signal.Signals) -> None:
        process = await started(script, *places(product))
        await asyncio.sleep(3)
        process.send_signal(number)
        async with asyncio.timeout(5):
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        assert b"Traceback" not in output

    async with asyncio.TaskGroup() as group:
        for script in ("orderbook_demo", "websocket_demo", "orders_demo"):
            for number in (signal.SIGINT, signal.SIGTERM):
                group.create_task(interrupted(script, number))


async def test_every_script_says_what_to_do_when_the_server_is_not_there():
    nobody = f"http://127.0.0.1:{free_port()}"
    ends = await asyncio.gather(
        *(run(script, "--api", nobody, "--orders", nobody) for script in SCRIPTS)
    )
    for code, output in ends:
        assert code == 3, output
        assert "./run_local.sh" in output
        assert "Traceback" not in output


async def test_every_script_explains_itself():
    for code, output in await asyncio.gather(*(run(script, "--help") for script in SCRIPTS)):
        assert code == 0
        assert "--api" in output
