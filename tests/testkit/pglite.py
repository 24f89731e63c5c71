# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""PostgreSQL 17 with TimescaleDB as WebAssembly: for SQL that must run with the extension.

One session serves every connection, whole transactions taking turns, so that locks, isolation and
COPY cannot be tested here; those tests use the real server.
"""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from pydantic import SecretStr

from linkora.settings import DatabaseSettings
from testkit.postgres import connect, server_folder
from testkit.processes import ServerProcess, free_port

NODE_FOLDER = Path(__file__).parent / "node"
INSTALL_TIMEOUT_S = 110
MISSING_NODE = (
    "the TimescaleDB tests need Node 18 or newer (node and npm), which this machine has not: "
    "install it, or set TEST_TIMESCALEDB_URL to a server with the extension"
)


@contextmanager
def running_pglite() -> Iterator[DatabaseSettings]:
    """Yield how to reach a fresh database with the extension; starts in 3 to 30 seconds.

    Raises:
        RuntimeError: If Node is missing or its package cannot be installed.
    """
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise RuntimeError(MISSING_NODE)
    install()
    settings = DatabaseSettings(
        host="127.0.0.1",
        port=free_port(),
        name="postgres",
        user="postgres",
        password=SecretStr("postgres"),
    )
    with server_folder("linkora-pglite-") as folder:
        server = ServerProcess(
            [node, NODE_FOLDER / "pglite-server.mjs", str(settings.port)],
            log_file=folder / "pglite.log",
            is_ready=lambda: _answers(settings),
            stop_signal=signal.SIGTERM,
        )
        server.start()
        try:
            yield settings
        finally:
            server.stop()


def install() -> None:
    """Install the pinned Node package where the lock file is newer than what is there."""
    installed = NODE_FOLDER / "node_modules" / ".package-lock.json"
    lock = NODE_FOLDER / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"],
        cwd=NODE_FOLDER,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"npm ci failed in {NODE_FOLDER}:\n{done.stderr}")
    installed.touch()


def _answers(settings: DatabaseSettings) -> bool:
    try:
        connect(settings).close()
    except psycopg.OperationalError:
        return False
    return True
