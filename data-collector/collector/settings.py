# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The collector's settings; every bound of a queue, batch, wait and retry has its name here."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AnyHttpUrl, AnyWebsocketUrl, BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from linkora.settings import Port, Seconds, ServiceSettings

_SYMBOL = re.compile(r"^[A-Z0-9\-_.]{1,20}$")
_ALL_OF_QUOTE = re.compile(r"^ALL:[A-Z0-9]{2,10}$")
MAX_LEVELS = 1000
PUBLIC_ARCHIVE = "https://data.binance.vision"
FIRST_DAY = datetime(2017, 1, 1, tzinfo=UTC)


def _without_slash(value: Any) -> Any:
    return value.rstrip("/") if isinstance(value, str) else value


def _parse_symbols(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    names = [part.strip().upper() for part in value.split(",") if part.strip()]
    wrong = [name for name in names if not (_SYMBOL.match(name) or _ALL_OF_QUOTE.match(name))]
    if wrong or not names:
        raise ValueError(
            f"{wrong or value!r}: allowed are comma-separated symbols such as BTCUSDT, "
            "or ALL:USDT for every pair that trades in USDT"
        )
    return tuple(dict.fromkeys(names))


class Settings(ServiceSettings):
    """Everything that can be set, by environment variables of the same names."""

    binance_base_url: str = "https://data-api.binance.vision"
    binance_ws_url: str = "wss://data-stream.binance.vision"
    binance_archive_url: str = "auto"
    symbols: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_symbols)] = (
        "BTCUSDT",
        "ETHUSDT",
        "BNBUSDT",
        "SOLUSDT",
        "XRPUSDT",
    )
    start_date: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    collector_host: str = "127.0.0.1"
    collector_port: Port = 8023

    realtime_source: Literal["stream", "poll"] = "stream"
    realtime_interval: Seconds = 0.5
    candle_write_interval: Seconds = 1.0
    orderbook_levels: int = Field(default=20, ge=5, le=MAX_LEVELS)
    orderbook_update_interval: Seconds = 1.0
    orderbook_retention_days: int = Field(default=7, ge=0, le=36_500)

    request_weight_share: float = Field(default=0.5, gt=0, le=1)
    request_timeout_s: Seconds = 15.0
    requests_at_once: int = Field(default=8, ge=1, le=100)
    backfill_symbols_at_once: int = Field(default=4, ge=1, le=64)
    backfill_batch_minutes: int = Field(default=8000, ge=1000, le=10_000)

    stream_silence_s: Seconds = 5.0
    symbol_silence_s: Seconds = 20.0
    stream_max_age_s: Seconds = 23 * 3600.0
    streams_per_connection: int = Field(default=300, ge=3, le=1024)
    stream_max_lag_s: Seconds = 30.0

    close_patience_s: Seconds = 5.0
    verify_delay_s: Seconds = 12.0
    verify_minutes: int = Field(default=5, ge=1, le=1000)
    gap_confirmations: int = Field(default=3, ge=1, le=100)
    gap_retry_s: Seconds = 30.0

    @field_validator("binance_base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        return _without_slash(str(AnyHttpUrl(value)))  # type: ignore[no-any-return]

    @field_validator("binance_ws_url")
    @classmethod
    def _check_ws_url(cls, value: str) -> str:
        return _without_slash(str(AnyWebsocketUrl(value)))  # type: ignore[no-any-return]

    @field_validator("binance_archive_url")
    @classmethod
    def _check_archive_url(cls, value: str) -> str:
        if value in ("auto", "off"):
            return value
        return _without_slash(str(AnyHttpUrl(value)))  # type: ignore[no-any-return]

    @field_validator("start_date", mode="before")
    @classmethod
    def _parse_start(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(
                "allowed is a date such as 2024-01-31 or an ISO 8601 time such as "
                "2024-01-31T12:00:00Z, in UTC where no offset is given"
            ) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    @field_validator("start_date")
    @classmethod
    def _check_start(cls, value: datetime) -> datetime:
        if value < FIRST_DAY:
            raise ValueError("allowed are times from 2017-01-01 on, when the exchange began")
        return value

    @property
    def archive_url(self) -> str | None:
        """Where the archive is; by default the exchange's own, and none beside a simulator."""
        if self.binance_archive_url != "auto":
            return None if self.binance_archive_url == "off" else self.binance_archive_url
        host = AnyHttpUrl(self.binance_base_url).host or ""
        return PUBLIC_ARCHIVE if host.endswith((".binance.com", ".binance.vision")) else None

    @property
    def start_ms(self) -> int:
        """START_DATE in Unix ms, on the minute grid."""
        return int(self.start_date.timestamp()) // 60 * 60_000
