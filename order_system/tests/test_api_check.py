# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What ``test_api.sh`` says where the order API is not well, or not there."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

SCRIPT = Path(__file__).resolve().parent.parent / "test_api.sh"


async def said_of(url):
    process = await asyncio.create_subprocess_exec(
        str(SCRIPT), url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode().splitlines()


@pytest.mark.parametrize(
    ("components", "reason"),
    [
        ({"problems": ["no sign of life for 99 s"]}, "event processor: no sign of life for 99 s"),
        ({"redis_error": "refused", "problems": []}, "redis: refused"),
        ({"database_error": "gone"}, "database: gone"),
        (
            {"redis_error": "refused", "problems": ["another chain", "3 dead letters"]},
            "redis: refused; event processor: another chain; event processor: 3 dead letters",
        ),
    ],
)
async def test_an_api_that_is_not_well_fails_with_the_reasons_it_gives(components, reason):
    async def tell(_):
        body = {"overall_status": "unhealthy", "components": components}
        return web.json_response(body, status=503)

    application = web.Application()
    application.router.add_get("/health", tell)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = site._server.sockets[0].getsockname()[1]
        code, lines = await said_of(f"http://127.0.0.1:{port}")
    finally:
        await runner.cleanup()
    assert code == 1
    (line,) = [each for each in lines if each.startswith("FAILED  health ")]
    assert line.removeprefix("FAILED  health").strip() == reason


async def test_nothing_that_listens_is_not_taken_for_an_api_without_orders():
    code, lines = await said_of("http://127.0.0.1:1")
    assert code == 1
    assert not [line for line in lines if line.startswith(("ok", "note"))]
