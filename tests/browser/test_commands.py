# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The commands of the documents that speak to a running product, typed as they stand there."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import psycopg
import pytest
from documents.rules import commands_of_kind
from redis.asyncio import Redis

from testkit.documents import ROOT, commands
from testkit.here import at_this_run

COMMANDS = commands()
CURL = "curl -sS --max-time 10 "
TIMEOUT_S = 60
WATCHED_S = 4
LEAST_CURLS = 40

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]


def texts(kind: str) -> list[str]:
    return sorted({command.text for command in commands_of_kind(COMMANDS, kind)})


async def started(text: str, cwd: Path = ROOT, **env: str) -> asyncio.subprocess.Process:
    """Type it into a shell, in which ``python`` and ``.venv`` are those of this run."""
    typed = text.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    return await asyncio.create_subprocess_exec(
        "bash", "-c", typed, cwd=cwd, env={"PATH": os.environ["PATH"], "COLUMNS": "160", **env},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def output_of(text: str, cwd: Path = ROOT, **env: str) -> tuple[int, str]:
    process = await started(text, cwd, **env)
    async with asyncio.timeout(TIMEOUT_S):
        told, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, told.decode(errors="replace")


async def test_every_curl_command_gets_an_answer(product, tmp_path):
    await product.chain.create()  # order number 1
    order = f"curl -sf --retry 20 --retry-delay 1 --retry-all-errors {product.order_api.url}"
    assert (await output_of(f"{order}/orders/1", tmp_path))[0] == 0
    asked = {c.text: c for c in commands_of_kind(COMMANDS, "curl")}
    assert len(asked) >= LEAST_CURLS
    for text, command in asked.items():
        # A document may show how something is refused.
        is_refusal = command.answer.startswith('{"error"')
        fail = "" if is_refusal else "--fail "
        typed = at_this_run(text, product).replace("curl ", CURL + fail, 1)
        code, told = await output_of(typed, tmp_path)
        assert code == 0, f"{command}: {told}"
        assert told or list(tmp_path.iterdir()), f"{command}: empty"
        assert told.startswith('{"error"') == is_refusal, f"{command}: {told}"


async def test_every_demo_script_shows_something_until_it_is_interrupted(product):
    typed = [*texts("demo")]
    assert len(typed) >= 4

    async def watched(text: str) -> tuple[str, int | None, str]:
        process = await started(
            f"exec {text} --api {product.api.url} --orders {product.order_api.url}"
        )
        with contextlib.suppress(TimeoutError):  # api_test.py ends by itself
            async with asyncio.timeout(TIMEOUT_S if "api_test" in text else WATCHED_S):
                await process.wait()
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        told, _ = await process.communicate()
        return text, process.returncode, told.decode(errors="replace")

    for text, code, told in await asyncio.gather(*map(watched, typed)):
        assert code == 0, f"{text}: {told}"
        assert "Traceback" not in told, text
        assert len(told) > 200, text


@pytest.mark.parametrize("text", texts("socket"))
async def test_a_socket_command_shows_the_candles_as_they_come(product, text):
    process = await started(f"exec {at_this_run(text, product)}", PYTHONUNBUFFERED="1")
    assert process.stdout is not None
    seen = ""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while '"channel":"candles"' not in seen:
                line = await process.stdout.readline()
                assert line, seen
                seen += line.decode(errors="replace")
    finally:
        process.kill()
        await process.communicate()


async def test_the_order_apis_own_check_finds_nothing_wrong(product):
    assert texts("test_api") == ["./test_api.sh"]
    port = product.order_api.url.rpartition(":")[2]
    code, told = await output_of("./test_api.sh", ROOT / "order_system", ORDER_API_PORT=port)
    assert code == 0, told


@pytest.mark.parametrize("text", texts("sql"))
async def test_a_statement_of_the_runbook_is_taken_by_the_database(product, text):
    env = product.collector.env
    address = {name: env[f"DB_{name.upper()}"] for name in ("host", "port", "user", "password")}
    with psycopg.connect(dbname=env["DB_NAME"], **address) as connection:
        connection.execute(text)
        connection.rollback()


@pytest.mark.parametrize("text", texts("redis"))
async def test_a_question_to_redis_is_answered(product, text):
    env = product.collector.env
    async with Redis(
        host=env["REDIS_HOST"], port=int(env["REDIS_PORT"]), password=env["REDIS_PASSWORD"] or None
    ) as redis:
        assert await redis.execute_command(*text.split()[1:])
