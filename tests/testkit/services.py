# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The product's services as processes of their own, started as the readme says."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from linkora.settings import DatabaseSettings, RedisSettings
from testkit.processes import free_port

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


class Service:
    """One running service.

    Attributes:
        url: Where it answers, such as ``http://127.0.0.1:40123``.
        log: Its log file.
        env: Its environment, with its settings.
    """

    def __init__(self, folder: str, arguments: list[str], env: dict[str, str], log: Path) -> None:
        self._folder = ROOT / folder
        self._command = [sys.executable, "main.py", *arguments]
        self.env = env
        self.log = log
        self.url = ""
        self.process: asyncio.subprocess.Process | None = None
        self._is_killed = False

    async def start(self) -> None:
        """Start the process; it may not answer yet."""
        self._is_killed = False
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command, cwd=self._folder, env=self.env, stdout=log, stderr=log
            )

    async def kill(self) -> None:
        """End it as a power cut would; unless started again it may stay dead."""
        assert self.process is not None
        self._is_killed = True
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Ask it to end, and return its exit code; 0 if a test has killed it before."""
        assert self.process is not None
        if self._is_killed:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)

    async def until_healthy(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once ``/health`` answers 200."""
        seen = "nothing"
        async with aiohttp.ClientSession() as session:
            try:
                async with asyncio.timeout(timeout_s):
                    while True:
                        assert self.process is not None
                        if self.process.returncode is not None:
                            raise AssertionError(f"it ended: {self.tail()}")
                        with contextlib.suppress(aiohttp.ClientError):
                            async with session.get(f"{self.url}/health") as answer:
                                seen = await answer.text()
                                if answer.status == 200:
                                    return
                        await asyncio.sleep(0.1)
            except TimeoutError:
                raise AssertionError(f"not healthy: {seen}\n{self.tail()}") from None

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-4000:]


@asynccontextmanager
async def running_service(
    folder: str,
    *arguments: str,
    port_name: str,
    database: DatabaseSettings,
    redis: RedisSettings,
    log: Path,
    **settings: str | float,
) -> AsyncIterator[Service]:
    """Run a service on a free port until the block ends; it must end cleanly then.

    Args:
        folder: The service's folder, such as ``api-server``.
        arguments: Of its ``main.py``.
        port_name: The setting that holds its port.
        log: Where its log goes.
        settings: Further settings, by the names of their variables.
    """
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        # From the work tree: pip's copy in an old .venv may be older than the services.
        "PYTHONPATH": str(ROOT / "common"),
        "DB_HOST": database.host,
        "DB_PORT": str(database.port),
        "DB_NAME": database.name,
        "DB_USER": database.user,
        "DB_PASSWORD": database.password.get_secret_value(),
        "REDIS_HOST": redis.host,
        "REDIS_PORT": str(redis.port),
        "REDIS_PASSWORD": redis.password.get_secret_value() if redis.password else "",
        port_name: str(port),
        **{name: str(value) for name, value in settings.items()},
    }
    service = Service(folder, list(arguments), env, log)
    service.url = f"http://127.0.0.1:{port}"
    await service.start()
    try:
        yield service
    except BaseException:
        await service.kill()
        raise
    code = await service.stop()
    assert code == 0, f"{folder} ended with {code}: {service.tail()}"


async def until(claim: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Return once ``claim()`` is true; fail after ``timeout_s`` seconds."""
    async with asyncio.timeout(timeout_s):
        while not claim():  # noqa: ASYNC110 - the other side is a process, not an event
            await asyncio.sleep(0.05)


@asynccontextmanager
async def meanwhile(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run ``loop`` until the block ends; what ends it before then is raised."""
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
