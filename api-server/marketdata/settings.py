# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the API server reads from the environment."""

from typing import Annotated

from pydantic import Field

from linkora.settings import HttpSettings, Port, Seconds, ServiceSettings, WebSocketSettings

MIN_INTERVAL_S = 0.5


class Settings(ServiceSettings):
    """The API server's settings; each field is the variable of the same name in capitals."""

    api_host: str = "127.0.0.1"
    api_port: Port = 8022
    websocket: WebSocketSettings = Field(default_factory=WebSocketSettings)
    websocket_update_interval: Annotated[Seconds, Field(ge=MIN_INTERVAL_S)] = 5.0
    http: HttpSettings = Field(default_factory=HttpSettings)
    api_max_windows: int = Field(default=500, ge=1)
    api_cache_bytes: int = Field(default=64 * 1024 * 1024, ge=0)
    api_max_exports: int = Field(default=4, ge=1)
    web_orders_url: str = Field(default="", pattern=r"^(https?://[^\s;,\"']+)?$")
    """Where browsers find the order API; empty: on ``order_api_port`` of the page's own host."""
    order_api_port: Port = 8080
