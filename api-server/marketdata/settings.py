# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the API server reads from the environment."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from linkora.settings import (
    DatabaseSettings,
    HttpSettings,
    Port,
    Seconds,
    ServiceSettings,
    WebSocketSettings,
)

MIN_INTERVAL_S = 0.5


class Settings(ServiceSettings):
    """The API server's settings; each field is the variable of the same name in capitals."""

    api_host: str = "127.0.0.1"
    api_port: Port = 8022
    api_workers: int = Field(default=1, ge=1, le=64)
    db_read_host: str = ""
    db_read_port: Port | None = None
    websocket: WebSocketSettings = Field(default_factory=WebSocketSettings)
    websocket_update_interval: Annotated[Seconds, Field(ge=MIN_INTERVAL_S)] = 5.0
    http: HttpSettings = Field(default_factory=HttpSettings)
    api_max_windows: int = Field(default=500, ge=1)
    api_cache_bytes: int = Field(default=64 * 1024 * 1024, ge=0)
    api_max_exports: int = Field(default=4, ge=1)
    web_orders_url: str = Field(default="", pattern=r"^(https?://[^\s;,\"']+)?$")
    """Where browsers find the order API; empty: on ``order_api_port`` of the page's own host."""
    order_api_port: Port = 8080
    api_worker: int | None = None
    """Which worker this is; set by the parent, like the next three."""
    api_worker_socket: int | None = None
    api_worker_folder: Path | None = None
    api_worker_parent: int | None = None

    @property
    def read_database(self) -> DatabaseSettings | None:
        """The read replica for history, ``None`` if there is none."""
        if not self.db_read_host:
            return None
        place = {"host": self.db_read_host, "port": self.db_read_port or self.database.port}
        return self.database.model_copy(update=place)


def worker_environment(listener: int, folder: Path, worker: int) -> dict[str, str]:
    """Return this process's environment, changed for a worker of it."""
    return {
        **os.environ,
        "API_WORKERS": "1",
        "API_WORKER": str(worker),
        "API_WORKER_SOCKET": str(listener),
        "API_WORKER_FOLDER": str(folder),
        "API_WORKER_PARENT": str(os.getpid()),
    }
