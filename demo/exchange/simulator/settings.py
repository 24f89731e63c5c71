# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Settings of the simulator: ``EXCHANGE_*`` variables, or the same names as flags.

``Switches`` are the part that can also be changed while it runs, by ``POST /control``.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import CliSuppress, NoDecode, SettingsConfigDict

from linkora.settings import DatabaseSettings, Port, RedisSettings, ServiceSettings
from simulator.symbols import DEFAULT_SYMBOLS

Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]
ThreeDays = Annotated[int, Field(ge=1, le=259_200)]
DAY_S = 86_400


class Switches(BaseModel):
    """What the exchange does wrong, and the limits it enforces.

    Attributes:
        weight_limit: Request weight that an address may use per minute.
        ignored_429_limit: Requests that an address may send after a 429 in the same minute
            before it is banned.
        first_ban_s: Length of an address's first ban; each further one is twice as long, up to
            three days.
        fault_429: Share of REST requests answered with 429 although under the limit.
        fault_418: Share that brings a ban of ``fault_ban_s``.
        fault_5xx: Share answered with 500, 502, 503 or 504.
        fault_html: Share answered with the firewall's HTML page and 403.
        fault_cut: Share whose answer ends in the middle.
        fault_slow: Share answered only after ``slow_ms``.
        fault_garbage: Share answered with 200 and bytes that are no JSON.
        fault_path: Faults strike only paths that start with this.
        fault_retry_after_s: ``Retry-After`` of an injected 429.
        fault_ban_s: Length of an injected ban.
        slow_ms: How late slow answers are.
        rest_lag_ms: How far REST market data is behind the streams.
        close_late_ms: How late the closing update of a kline is.
        close_late_jitter_ms: Up to how much later still, at random.
        delta_before_ack: Whether data of a stream comes before the answer to its SUBSCRIBE.
        diff_drop_rate: Share of order book diffs that are never sent.
        diff_duplicate_rate: Share of order book diffs that are sent twice.
        stream_drop_rate: Chance per second that a WebSocket connection is cut.
        stream_silence_rate: Chance per second that one goes silent but stays open.
        revision_rate: Share of minutes that are revised after they closed.
        revision_delay_ms: How long after the close a revision happens.
        clock_offset_ms: What the exchange's clock is ahead of this machine's; may be negative.
        archive_wrong_checksum: Whether archive files have wrong checksums.
        archive_truncated: Whether archive files lack the last third of their rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight_limit: int = Field(default=6_000, ge=1)
    ignored_429_limit: int = Field(default=10, ge=0)
    first_ban_s: ThreeDays = 120
    fault_429: Rate = 0.0
    fault_418: Rate = 0.0
    fault_5xx: Rate = 0.0
    fault_html: Rate = 0.0
    fault_cut: Rate = 0.0
    fault_slow: Rate = 0.0
    fault_garbage: Rate = 0.0
    fault_path: str = "/api/"
    fault_retry_after_s: ThreeDays = 2
    fault_ban_s: ThreeDays = 10
    slow_ms: Milliseconds = 10_000
    rest_lag_ms: Milliseconds = 0
    close_late_ms: Milliseconds = 0
    close_late_jitter_ms: Milliseconds = 0
    delta_before_ack: bool = False
    diff_drop_rate: Rate = 0.0
    diff_duplicate_rate: Rate = 0.0
    stream_drop_rate: Rate = 0.0
    stream_silence_rate: Rate = 0.0
    revision_rate: Rate = 0.0
    revision_delay_ms: Milliseconds = 5_000
    clock_offset_ms: int = 0
    archive_wrong_checksum: bool = False
    archive_truncated: bool = False


class Settings(ServiceSettings, Switches):
    """What the simulator is started with.

    Attributes:
        host: Address to listen on.
        port: Port of REST and WebSocket, 0 for any free one.
        seed: Seed of the market and of the faults; the same seed gives the same market.
        symbols: Comma-separated names; unknown ones get a quiet made-up market.
        extra_symbols: How many more to make up: SIM001USDT, SIM002USDT, ….
        zero_trade_rate: Share of minutes without any trade.
        real_outages: Whether history has the outages that the real exchange has had.
        actions: JSON list of ``/control`` actions to carry out at the start.
        replay: A recorded capture to play instead of the generated market.
        replay_minutes_ago: How much of the capture is already history at the start.
        ping_interval_ms: Time between the server's WebSocket pings.
        pong_timeout_ms: A connection without a pong for that long is closed.
        connection_lifetime_s: A connection is closed after that long.
        max_streams: Streams that one connection may have.
        max_messages_per_s: Messages that one connection may send per second, pings included.
        max_connections_per_5m: Connection attempts of one address in five minutes.
        mailbox_size: Frames waiting for a slow client before it is cut off.
    """

    model_config = SettingsConfigDict(
        env_prefix="EXCHANGE_", cli_kebab_case=True, cli_prog_name="main.py", extra="ignore"
    )

    database: CliSuppress[DatabaseSettings] = Field(default_factory=DatabaseSettings)
    redis: CliSuppress[RedisSettings] = Field(default_factory=RedisSettings)
    host: str = "127.0.0.1"
    port: Port = 9080
    seed: str = "42"
    symbols: Annotated[tuple[str, ...], NoDecode] = DEFAULT_SYMBOLS
    extra_symbols: int = Field(default=0, ge=0, le=5_000)
    zero_trade_rate: Rate = 0.0
    real_outages: bool = False
    actions: str = "[]"
    replay: str | None = None
    replay_minutes_ago: int = Field(default=0, ge=0, le=1_440)
    ping_interval_ms: Milliseconds = 20_000
    pong_timeout_ms: Milliseconds = 60_000
    connection_lifetime_s: float = Field(default=DAY_S, gt=0, le=DAY_S)
    max_streams: int = Field(default=1_024, ge=1)
    max_messages_per_s: int = Field(default=5, ge=1)
    max_connections_per_5m: int = Field(default=300, ge=1)
    mailbox_size: int = Field(default=5_000, ge=10)

    @field_validator("symbols", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip().upper() for name in value.split(",") if name.strip())
        return value

    def switches(self) -> Switches:
        """Return the part that can be changed while the simulator runs."""
        return Switches(**self.model_dump(include=set(Switches.model_fields)))


class CommandLine(Settings):
    """The same settings, given by flags as well."""

    model_config = SettingsConfigDict(cli_parse_args=True)
