# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A real API server loses its Redis and its database, and says so where somebody is woken."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from schema.runner import migrate
from testkit.postgres import private_postgres
from testkit.redis_server import private_redis
from testkit.services import running_service, until

FAST = {"ALERT_AFTER_S": 1, "ALERT_CALM_S": 0.5, "ALERT_CHECK_INTERVAL_S": 0.1}
SECRET_PATH = "/hook/T0P-S3CRET"


@pytest.fixture
async def told() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """The webhook's address and what it was told."""
    bodies: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post(SECRET_PATH, take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}{SECRET_PATH}", bodies
    await runner.cleanup()


async def test_lasting_troubles_are_told_and_their_ends_too(
    told: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    url, bodies = told

    def states(alert: str) -> list[str]:
        return [body["status"] for body in bodies if body["alert"] == alert]

    with private_postgres() as database, private_redis() as redis:
        migrate(database.settings())
        async with running_service(
            "api-server", port_name="API_PORT", database=database.settings(),
            redis=redis.settings(), log=tmp_path / "log", ALERT_WEBHOOK_URL=url, **FAST,
        ) as service:  # fmt: skip
            await service.until_healthy()
            redis.stop()
            await until(lambda: states("redis") == ["firing"], 20)
            redis.start()
            await until(lambda: states("redis") == ["firing", "resolved"], 40)
            database.stop()
            await until(lambda: states("database") == ["firing"], 20)
            database.start()
            await until(lambda: states("database") == ["firing", "resolved"], 40)
            await asyncio.to_thread(database.stop)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(database.start)
            await service.until_healthy()
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{service.url}/symbols", headers={"x-request-id": "mine"}) as answer,
            ):
                assert answer.headers["x-request-id"] == "mine"
        log = service.log.read_text()
    assert "S3CRET" not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any(line["event"] == "alert_sent" for line in lines)
    assert states("database") == ["firing", "resolved"], "a short outage was told"
    assert all("docs/operations.md#" in body["text"] for body in bodies)
