# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Settings from the environment: the only place that reads it.

A wrong value stops the process at once and says the name, the value and what is allowed.
"""

import sys
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]

EXIT_WRONG_SETTING = 2


class Section(BaseSettings):
    """Base of every group of settings: names in any case, empty values mean the default."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, case_sensitive=False, extra="ignore", frozen=True
    )


class DatabaseSettings(Section):
    """Where PostgreSQL is, from ``DB_HOST``, ``DB_PORT``, ``DB_NAME``, ``DB_USER``, …."""

    model_config = SettingsConfigDict(env_prefix="DB_")

    host: str = "127.0.0.1"
    port: Port = 5432
    name: str = "linkora"
    user: str = "linkora"
    password: SecretStr = SecretStr("")
    pool_size: int = Field(default=10, ge=1, le=200)
    command_timeout_s: Seconds = 60.0


class RedisSettings(Section):
    """Where Redis is, from ``REDIS_HOST``, ``REDIS_PORT`` and, optionally, ``REDIS_PASSWORD``."""

    model_config = SettingsConfigDict(env_prefix="REDIS_")

    host: str = "127.0.0.1"
    port: Port = 6379
    username: str | None = None
    password: SecretStr | None = None


class WebSocketSettings(Section):
    """Bounds and intervals of WebSockets, from ``WEBSOCKET_...``."""

    model_config = SettingsConfigDict(env_prefix="WEBSOCKET_", populate_by_name=True)

    ping_interval_s: Seconds = Field(default=30.0, validation_alias="WEBSOCKET_PING_INTERVAL")
    pong_timeout_s: Seconds = Field(default=60.0, validation_alias="WEBSOCKET_PONG_TIMEOUT")
    cleanup_interval_s: Seconds = Field(default=5.0, validation_alias="WEBSOCKET_CLEANUP_INTERVAL")
    max_connections_per_address: int = Field(default=2_000, ge=1)
    max_subscriptions: int = Field(default=1_000, ge=1, le=100_000)
    mailbox_limit: int = Field(default=2_000, ge=10, le=1_000_000)
    max_messages_per_s: float = Field(default=50.0, ge=1)


class HttpSettings(Section):
    """Who may ask how often, from ``CORS_ORIGINS``, ``RATE_LIMIT`` and ``TRUSTED_PROXIES``."""

    cors_origins: str = "*"
    rate_limit: int = Field(default=1_200, ge=0, le=100_000_000)
    trusted_proxies: str = ""

    @property
    def allowed_origins(self) -> list[str]:
        """The origins whose pages may read our answers; ``*`` for any."""
        return _listed(self.cors_origins)

    @property
    def trusted_proxy_list(self) -> list[str]:
        """Addresses and networks whose ``X-Forwarded-For`` is believed."""
        return _listed(self.trusted_proxies)


class AlertSettings(Section):
    """Whom to call, from ``ALERT_WEBHOOK_URL`` and ``ALERT_...``; without a URL nobody."""

    model_config = SettingsConfigDict(env_prefix="ALERT_")

    webhook_url: SecretStr | None = None
    after_s: Seconds = 60.0
    calm_s: Seconds = 30.0
    repeat_s: Annotated[Seconds, Field(ge=1)] = 4 * 3600.0
    check_interval_s: Seconds = 5.0

    @field_validator("webhook_url")
    @classmethod
    def _check_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("allowed are addresses that begin with https:// or http://")
        return value


class ServiceSettings(Section):
    """What every service reads."""

    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    log_level: LogLevel = "INFO"


S = TypeVar("S", bound=BaseSettings)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def load(settings: type[S]) -> S:
    """Return the settings that the environment gives; a wrong one ends the process.

    Raises:
        SystemExit: With code 2, after a line per wrong value on standard error.
    """
    try:
        return settings()
    except ValidationError as error:
        for problem in error.errors():
            prefix = _env_prefix(error.title, settings)
            name = "_".join(str(part) for part in problem["loc"]).upper()
            if not name.startswith(prefix):  # an alias is the whole name already
                name = prefix + name
            shown = "" if _is_secret(name) else f"={problem['input']!r}"
            sys.stderr.write(f"wrong setting {name}{shown}: {problem['msg']}\n")
        raise SystemExit(EXIT_WRONG_SETTING) from None


def _env_prefix(title: str, settings: type[BaseSettings]) -> str:
    """Return the prefix of the section that failed; nested sections raise under their own name."""
    sections = [settings, *_subclasses(Section)]
    return next((s.model_config.get("env_prefix", "") for s in sections if s.__name__ == title), "")


def _subclasses(parent: type[BaseSettings]) -> list[type[BaseSettings]]:
    found: list[type[BaseSettings]] = []
    for child in parent.__subclasses__():
        found += [child, *_subclasses(child)]
    return found


def _is_secret(name: str) -> bool:
    return any(word in name for word in ("PASSWORD", "SECRET", "TOKEN", "KEY", "WEBHOOK"))
