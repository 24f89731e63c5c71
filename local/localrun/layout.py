# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The folder of one local suite: what is kept where, and its secrets."""

import json
import os
import secrets
import tempfile
from hashlib import sha256
from pathlib import Path

import msgspec

# A Unix socket's path must fit into sockaddr_un: 104 bytes on macOS, 108 on Linux.
MAX_SOCKET_PATH_BYTES = 100


class Secrets(msgspec.Struct, frozen=True):
    """Made once, hexadecimal, readable by the owner only."""

    superuser: str
    database: str
    redis: str


class Layout:
    """Paths under the suite's folder; making one makes the folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.run = folder / "run"
        self.postgres = folder / "postgres-16"
        self.redis = folder / "redis"
        self.chain = folder / "chain"
        self.config = self.run / "supervisord.conf"
        self.redis_config = self.run / "redis.conf"
        self.state = self.run / "state.json"
        self.supervisor_pid = self.run / "supervisord.pid"
        self.environment = folder / "env"

    def make(self) -> None:
        """Make the folders, closed to other users."""
        for folder in (self.folder, self.logs, self.run, self.redis, self.chain):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def socket(self) -> Path:
        """The supervisor's control socket; outside the folder if its path is too long."""
        path = self.run / "supervisor.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
            return path
        name = sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"linkora-{os.getuid()}-{name}.sock"

    def log(self, program: str) -> Path:
        """Return the log file of a program."""
        return self.logs / f"{program}.log"

    def secrets(self) -> Secrets:
        """Return the secrets, making them at the first call."""
        path = self.folder / "secrets.json"
        if not path.exists():
            names = Secrets.__struct_fields__
            write_private(path, json.dumps({name: secrets.token_hex(24) for name in names}))
        return msgspec.json.decode(path.read_bytes(), type=Secrets)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, replacing it in one step."""
    draft = path.with_suffix(path.suffix + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)
