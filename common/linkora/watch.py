# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What every process does beside its work: keep its figures, and call for help.

Figures go to the database once a minute. Troubles that last go to a webhook, once for all
replicas (they agree by a key in Redis; each speaks for itself while Redis is away), and so does
their end. A process that died is missed by the others, because its figures stop.
"""

import asyncio
import socket
import time
from collections.abc import Mapping

import aiohttp
import asyncpg
import structlog
from prometheus_client import CollectorRegistry, Gauge
from redis.asyncio import Redis

from linkora.alerts import AlertBook, Notice, Trouble, message, troubles_of
from linkora.backoff import Backoff
from linkora.database import open_pool
from linkora.errors import TransientError
from linkora.figure_store import FigureStore
from linkora.figures import take_figures
from linkora.health import Health
from linkora.pubsub import open_redis, transient_errors
from linkora.settings import AlertSettings, ServiceSettings

log = structlog.get_logger(__name__)

FIGURES_INTERVAL_S = 60.0
SILENT_AFTER_S = 180.0
SEND_TRIES = 5
SEND_TIMEOUT_S = 10.0
KEY_PREFIX = "alert:"


async def watch_over(
    settings: ServiceSettings, service: str, registry: CollectorRegistry, health: Health
) -> None:
    """Keep figures and send alerts until cancelled; no trouble of its own ends the service.

    Args:
        settings: It opens one connection of its own to the database, and one to Redis.
        service: The service's name, in ``service_metrics`` and in alerts.
        registry: What is kept.
        health: What is watched.
    """
    database = settings.database.model_copy(update={"pool_size": 1})
    async with (
        open_pool(database, name=f"{service}-watch") as pool,
        open_redis(settings.redis) as redis,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SEND_TIMEOUT_S)) as session,
    ):
        store = FigureStore(pool)
        silent: dict[str, int] = {}
        size = Gauge("database_size_bytes", "Size of our database", registry=registry)
        size.set(float("nan"))
        async with asyncio.TaskGroup() as group:
            group.create_task(_keep_figures(store, size, service, registry, health, silent))
            if settings.alerts.webhook_url is not None:
                bell = Bell(settings.alerts, f"{service}@{socket.gethostname()}", redis, session)
                group.create_task(_keep_alerts(bell, service, health, silent))


async def _keep_figures(
    store: FigureStore,
    size: Gauge,
    service: str,
    registry: CollectorRegistry,
    health: Health,
    silent: dict[str, int],
) -> None:
    """Write the figures every minute, and look who does not."""
    instance = socket.gethostname()
    is_well = False
    while True:
        try:
            size.set(await store.database_size_bytes())
            await store.record(service, instance, take_figures(registry, health))
            now_silent = await store.silent_services(SILENT_AFTER_S)
        except (TransientError, asyncpg.PostgresError) as error:
            if is_well:
                log.warning("figures_not_stored", reason=str(error))
            is_well = False
            silent.clear()
        else:
            # After an outage, or a common start, the others need a moment to write again.
            silent.clear()
            silent.update(now_silent if is_well else {})
            is_well = True
        await asyncio.sleep(FIGURES_INTERVAL_S)


async def _keep_alerts(
    bell: "Bell", service: str, health: Health, silent: Mapping[str, int]
) -> None:
    limits = bell.settings
    book = AlertBook(limits.after_s, limits.calm_s, limits.repeat_s)
    was_seen_well: set[str] = set()
    await bell.settle(troubles_of(service, {}, {service: 0}, 0), "is back")
    while True:
        down = health.reasons()
        troubles = troubles_of(service, down, silent, time.time_ns() // 1_000_000)
        for notice in book.judge(troubles, time.time()):
            await bell.ring(notice)
        # What this process' predecessor called out, and what is over since.
        for name in health.states().keys() - down.keys() - was_seen_well:
            was_seen_well.add(name)
            await bell.settle(troubles_of(service, {name: ""}, {}, 0), f"{name} is well")
        await asyncio.sleep(limits.check_interval_s)


class Bell:
    """Sends notices to the webhook, each by one process only."""

    def __init__(
        self, settings: AlertSettings, sender: str, redis: Redis, session: aiohttp.ClientSession
    ) -> None:
        self.settings = settings
        self._sender = sender
        self._redis = redis
        self._session = session
        self._was_agreed: dict[str, bool] = {}
        """By key of our notices: whether Redis knows of them."""

    async def ring(self, notice: Notice) -> None:
        """Send a notice, unless another process has done so."""
        is_firing = notice.status == "firing"
        is_ours = await (self._claim(notice.key) if is_firing else self._release(notice.key))
        if is_ours:
            await self._send(message(notice, self._sender, time.time()))

    async def settle(self, troubles: Mapping[str, Trouble], summary: str) -> None:
        """Tell that troubles are over which an earlier process may have called out."""
        for key, trouble in troubles.items():
            if key not in self._was_agreed and await self._release(key):
                ended = Trouble(f"{summary}, says {self._sender}", trouble.anchor)
                now_s = time.time()
                await self._send(
                    message(Notice(key, "resolved", ended, now_s), self._sender, now_s)
                )

    async def _claim(self, key: str) -> bool:
        """Return whether it is ours to tell."""
        expires_s = max(1, int(self.settings.repeat_s - 2 * self.settings.check_interval_s))
        try:
            with transient_errors():
                is_ours = bool(
                    await self._redis.set(KEY_PREFIX + key, self._sender, nx=True, ex=expires_s)
                )
        except TransientError:
            self._was_agreed[key] = False
            return True  # better twice than never
        if is_ours:
            self._was_agreed[key] = True
        return is_ours

    async def _release(self, key: str) -> bool:
        """Return whether its end is ours to tell."""
        was_agreed = self._was_agreed.pop(key, None)
        try:
            with transient_errors():
                return bool(await self._redis.delete(KEY_PREFIX + key)) or was_agreed is False
        except TransientError:
            return was_agreed is not None

    async def _send(self, body: dict[str, str | int]) -> None:
        url = self.settings.webhook_url
        assert url is not None  # noqa: S101 - for the type; without it nobody calls
        backoff = Backoff(first_s=1.0)
        for _ in range(SEND_TRIES):
            try:
                async with self._session.post(url.get_secret_value(), json=body) as answer:
                    if answer.status < 300:
                        log.warning("alert_sent", alert=body["alert"], status=body["status"])
                        return
                    reason = f"HTTP {answer.status}"
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = type(error).__name__  # its text may hold the address, which is a secret
            await asyncio.sleep(backoff.next_delay_s())
        log.error("alert_not_sent", alert=body["alert"], status=body["status"], reason=reason)
