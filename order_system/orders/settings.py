# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Settings of the order system's two services, with every limit by name."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from linkora.settings import HttpSettings, Port, Seconds, ServiceSettings, WebSocketSettings
from orders.condition import Bounds
from orders.ports import Limits

ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
PROVIDER = re.compile(r"https?://[^\s,/]+(/[^\s,]*)?")
Count = Annotated[int, Field(ge=1)]


class Settings(ServiceSettings):
    """What both services read; each uses its part. README.md of this folder explains them."""

    websocket: WebSocketSettings = Field(default_factory=WebSocketSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)

    order_api_host: str = "127.0.0.1"
    order_api_port: Port = 8080
    events_host: str = "127.0.0.1"
    events_port: Port = 8081

    web3_provider: Annotated[tuple[str, ...], NoDecode] = ()
    """HTTP JSON-RPC endpoints, comma-separated, in order of preference; empty: no chain."""
    web3_ws_provider: str = Field(default="", pattern=r"^(wss?://\S+)?$")
    """WebSocket endpoint whose ``newHeads`` wake the scanner; it polls all the same."""
    trading_address: str = ""
    router_address: str = ""
    """The router contract: orders that it executed are told from those of a keeper's own call."""

    confirmations: int | None = Field(default=None, ge=0, le=100_000)
    """Blocks behind the head that are left alone; unset: 0 on a local chain, else finality."""
    finality_depth: int | None = Field(default=None, ge=1, le=100_000)
    """Depth below which nothing is rolled back; unset: the node's ``finalized`` block."""
    start_block: int | None = Field(default=None, ge=0)
    """First block to scan; unset: the block of the contract's deployment, found by bisection."""
    on_chain_restart: Literal["hold", "reset"] = "hold"
    """What to do when a local chain (id 1337 or 31337) has been started anew."""

    poll_interval_s: Seconds = 0.5
    request_timeout_s: Seconds = 20.0
    fetch_workers: Count = 4
    range_blocks: Count = 2_000
    """Blocks of the first range; it grows and shrinks with what the provider takes."""
    range_blocks_max: Count = 50_000
    range_logs_target: Count = 4_000
    """Logs that one range, and so one transaction, shall hold about."""
    answer_bytes_max: Count = 128 * 1024 * 1024
    batch_calls_max: Count = 250
    """JSON-RPC calls in one HTTP request."""
    window_blocks: int = Field(default=256, ge=256, le=100_000)
    """Blocks whose hashes are kept, so that the fork of a reorg can be found."""
    tip_batch_blocks: Count = 64
    """Blocks of the window that one transaction takes at most."""
    lower_head_polls: int | None = Field(default=None, ge=1, le=100_000)
    """Polls that must agree before a head lower than the checkpoint is believed; unset: 3 on a
    local chain, else 30."""
    audit_interval_s: Seconds = 300.0
    """Time between two comparisons of every open order with the contract's own state."""

    lag_blocks_max: Count = 50
    """Blocks behind the head that ``/health`` takes for healthy."""
    silence_s_max: Seconds = 60.0
    """Time without a sign of life of the event processor that ``/health`` takes for healthy."""
    dead_letters_max: int = Field(default=0, ge=0)
    """Dead letters that ``/health`` takes for healthy."""

    @field_validator("web3_provider", mode="before")
    @classmethod
    def _split_providers(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        urls = tuple(url.strip() for url in value.split(",") if url.strip())
        if not all(PROVIDER.fullmatch(url) for url in urls):
            message = "must be http:// or https:// URLs, separated by commas"
            raise ValueError(message)
        return urls

    @field_validator("trading_address", "router_address")
    @classmethod
    def _check_address(cls, value: str) -> str:
        if value and not ADDRESS.fullmatch(value):
            message = "must be 0x and 40 hexadecimal digits"
            raise ValueError(message)
        return value.lower()

    @property
    def has_chain(self) -> bool:
        """True if there is a provider and a contract to follow."""
        return bool(self.web3_provider and self.trading_address)

    @property
    def bounds(self) -> Bounds:
        """What counts as healthy."""
        return Bounds(
            has_chain=self.has_chain,
            lag_blocks=self.lag_blocks_max,
            silence_s=self.silence_s_max,
            dead_letters=self.dead_letters_max,
        )

    @property
    def limits(self) -> Limits:
        """The scanner's part."""
        return Limits(
            contract=self.trading_address,
            confirmations=self.confirmations,
            finality_depth=self.finality_depth,
            start_block=self.start_block,
            resets_restarted_chain=self.on_chain_restart == "reset",
            fetch_workers=self.fetch_workers,
            range_blocks=self.range_blocks,
            range_blocks_max=self.range_blocks_max,
            range_logs_target=self.range_logs_target,
            window_blocks=self.window_blocks,
            tip_batch_blocks=self.tip_batch_blocks,
            lower_head_polls=self.lower_head_polls,
            audit_interval_s=self.audit_interval_s,
        )
