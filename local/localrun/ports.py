# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Whether the ports are free, and who has those that are not."""

import socket
from collections.abc import Iterable, Mapping

import psutil  # type: ignore[import-untyped]

from localrun.errors import StartError
from localrun.settings import PORTS

LOOPBACK = "127.0.0.1"
OFFSET = 2_000
"""Moves every port to where none of the default ones is (1,000 would move 8080 onto 9080)."""


def check_ports(names: Iterable[str], ports: Mapping[str, int]) -> None:
    """Return if all ports are free.

    Raises:
        StartError: Naming each taken port, its owner where that can be seen, and what to do.
    """
    taken = [name for name in names if not is_free(ports[name])]
    if not taken:
        return
    lines = [f"port {ports[n]} ({PORTS[n][1]}) is taken{_owner(ports[n])}" for n in taken]
    changes = " ".join(f"{name}={suggest(ports[name])}" for name in taken)
    raise StartError(
        "\n".join(lines) + f"\nChoose others:  {changes} ./run_local.sh"
        f"\nor move all of them:  ./run_local.sh --port-offset {OFFSET}"
    )


def is_free(port: int) -> bool:
    """Return whether a server could listen on ``port`` of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def suggest(port: int) -> int:
    """Return a free port that resembles ``port``."""
    candidates = (port + step for step in range(100, 10_000, 100))
    return next(p for p in candidates if p <= 65_535 and is_free(p))


def _owner(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                name = psutil.Process(connection.pid).name()
                return f" by {name} (process {connection.pid})"
    except (psutil.Error, OSError, ValueError, TypeError):
        pass
    return ""
