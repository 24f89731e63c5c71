# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the migration job reads from the environment."""

import msgspec
from pydantic import Field, SecretStr

from linkora.settings import DatabaseSettings, LogLevel, Section


class Policies(msgspec.Struct, frozen=True):
    """What TimescaleDB does with old chunks; in days.

    Attributes:
        candles_compress_after: Age at which candle chunks are compressed.
        books_compress_after: Age at which order book chunks are compressed.
        books_retention: Age at which order book chunks are dropped; 0 keeps them for ever.
        metrics_retention: Age at which the services' metrics are dropped; 0 keeps them for ever.
    """

    candles_compress_after: int = 7
    books_compress_after: int = 1
    books_retention: int = 7
    metrics_retention: int = 30


class Settings(Section):
    """``DB_*``, ``LOG_LEVEL``, the ages of ``Policies`` and the services' passwords."""

    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    log_level: LogLevel = "INFO"
    candles_compress_after_days: int = Field(default=7, ge=1, le=36_500)
    orderbook_compress_after_days: int = Field(default=1, ge=1, le=36_500)
    orderbook_retention_days: int = Field(default=7, ge=0, le=36_500)
    metrics_retention_days: int = Field(default=30, ge=0, le=36_500)
    collector_db_password: SecretStr | None = None
    api_db_password: SecretStr | None = None
    order_api_db_password: SecretStr | None = None
    order_events_db_password: SecretStr | None = None

    def policies(self) -> Policies:
        """Return the ages as one value."""
        return Policies(
            candles_compress_after=self.candles_compress_after_days,
            books_compress_after=self.orderbook_compress_after_days,
            books_retention=self.orderbook_retention_days,
            metrics_retention=self.metrics_retention_days,
        )

    def role_passwords(self) -> dict[str, str]:
        """Return the passwords of the services' database users, by service; those that are set."""
        passwords = {
            "collector": self.collector_db_password,
            "api": self.api_db_password,
            "order_api": self.order_api_db_password,
            "order_events": self.order_events_db_password,
        }
        return {name: word.get_secret_value() for name, word in passwords.items() if word}
