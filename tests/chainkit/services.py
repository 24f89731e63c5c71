# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The order system's processes, started as an operator starts them."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from linkora.settings import DatabaseSettings, RedisSettings

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "order_system"


def environment(
    database: DatabaseSettings, redis: RedisSettings | None = None, **more: str
) -> dict[str, str]:
    chosen = {
        "DB_HOST": database.host,
        "DB_PORT": str(database.port),
        "DB_NAME": database.name,
        "DB_USER": database.user,
        "DB_PASSWORD": database.password.get_secret_value(),
        "PYTHONPATH": str(ROOT / "common"),
    }
    if redis:
        chosen |= {"REDIS_HOST": redis.host, "REDIS_PORT": str(redis.port)}
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WEB3", "TRADING"))}
    return clean | chosen | more


@contextlib.asynccontextmanager
async def running(
    name: str, variables: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "main.py", name, cwd=SERVICE, env=variables
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def get(url: str) -> tuple[int, Any]:
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as response:
                    return response.status, await response.json(content_type=None)
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
