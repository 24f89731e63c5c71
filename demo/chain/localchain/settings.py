# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Settings of the local chain, from ``CHAIN_*`` variables."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from linkora.settings import LogLevel, Port, Seconds


class Settings(BaseSettings):
    """Where the node is or shall listen, and how lively the traffic is."""

    model_config = SettingsConfigDict(
        env_prefix="CHAIN_", env_ignore_empty=True, case_sensitive=False, extra="ignore"
    )

    rpc: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """A running node to use; empty: start Anvil here."""
    host: str = "127.0.0.1"
    port: Port = 8545
    state: Path | None = None
    """File that keeps the chain over restarts of Anvil; empty: every start is a new chain."""
    block_time_s: Seconds = 2.0
    action_interval_s: Seconds = 3.0
    """Mean time between two actions of the traffic."""
    open_orders: int = Field(default=40, ge=1, le=10_000)
    """The traffic settles orders rather than creating more once so many are open."""
    seed: int = 7
    log_level: LogLevel = Field(default="INFO", validation_alias="LOG_LEVEL")
