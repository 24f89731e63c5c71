# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Puts the collector together: opens what it needs, hands it down, supervises the loops."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

import aiohttp
import asyncpg
import structlog
from redis.asyncio import Redis
from starlette.applications import Starlette

from collector.binance.rest import BinanceRest
from collector.budget import RequestBudget
from collector.candle_store import CandleStore
from collector.clock import ExchangeClock
from collector.lease_store import open_lease_session
from collector.leases import Leases
from collector.listing import Listing
from collector.metrics import CollectorMetrics
from collector.news import News
from collector.settings import Settings
from collector.share import collect_share
from collector.surroundings import Surroundings
from linkora.backoff import Backoff, retry
from linkora.database import open_pool
from linkora.errors import TransientError
from linkora.health import Health
from linkora.http import EXCEPTION_HANDLERS, observability_routes
from linkora.metrics import new_registry
from linkora.pubsub import open_redis
from linkora.runtime import serve_http, supervise
from linkora.watch import watch_over

log = structlog.get_logger(__name__)

T = TypeVar("T")

CLOCK_INTERVAL_S = 60.0
LOST_INTERVAL_S = 5.0


async def run(settings: Settings) -> None:
    """Collect until cancelled."""
    registry, health = new_registry(), Health()
    metrics = CollectorMetrics(registry)
    app = Starlette(
        routes=observability_routes(health, registry), exception_handlers=EXCEPTION_HANDLERS
    )
    for name in ("database", "redis", "exchange"):
        health.down(name, "not reached yet")
    timeout = aiohttp.ClientTimeout(total=settings.request_timeout_s)
    async with (
        open_pool(settings.database, name="data-collector") as pool,
        open_redis(settings.redis) as redis,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        around = Surroundings(ExchangeClock(), settings, health, metrics)
        await supervise(
            serve_http(app, host=settings.collector_host, port=settings.collector_port),
            watch_over(settings, "data-collector", registry, health),
            collect(around, pool, redis, session),
        )


async def collect(
    around: Surroundings, pool: asyncpg.Pool, redis: Redis, session: aiohttp.ClientSession
) -> None:
    """Wait for database and exchange, then run every loop."""
    settings, store, news = around.settings, CandleStore(pool), News(redis, around)
    budget = RequestBudget(settings.request_weight_share)
    around.metrics.used_weight.set_function(lambda: budget.used_weight)
    rest = BinanceRest(
        settings.binance_base_url,
        session,
        budget,
        around.clock,
        on_ban=store.save_ban,
        requests_at_once=settings.requests_at_once,
    )
    # A ban outlives a restart: whoever asks during one is banned for longer.
    budget.pause(await _wait_for(around, "database", store.load_ban))
    info = await _wait_for(around, "exchange", rest.exchange_info)
    listing = Listing(around)
    listing.take(info)
    leases = Leases(listing.collected, lambda: open_lease_session(settings.database), around)
    around.health.fact("symbols", lambda: list(leases.held))

    async def collect_ours() -> None:
        if leases.held:
            await collect_share(leases.held, around, pool, session, rest, store, news)
        await asyncio.Event().wait()

    await supervise(
        leases.keep(),
        _while_unchanged(leases.changed, collect_ours),
        listing.follow(rest.exchange_info, leases.want),
        _keep_time(rest, around),
    )


async def _while_unchanged(
    changed: asyncio.Event, run: Callable[[], Coroutine[None, None, None]]
) -> None:
    """Run anew whenever ``changed`` is set."""
    while True:
        changed.clear()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run())
            await changed.wait()
            task.cancel()


async def _wait_for(around: Surroundings, neighbour: str, call: Callable[[], Awaitable[T]]) -> T:
    backoff = Backoff()

    def still_away(error: TransientError) -> None:
        around.lost(neighbour, error)
        if backoff.failures == 0:
            log.warning("start_waits", neighbour=neighbour, reason=str(error))

    answer = await retry(call, on_error=still_away, backoff=backoff)
    around.found(neighbour)
    return answer


async def _keep_time(rest: BinanceRest, around: Surroundings) -> None:
    """Set our clock by the exchange's, for ever; soon again while it seems to be away."""
    next_s = time.monotonic() + CLOCK_INTERVAL_S
    while True:
        await asyncio.sleep(LOST_INTERVAL_S)
        if around.health.is_up("exchange") and time.monotonic() < next_s:
            continue
        next_s = time.monotonic() + CLOCK_INTERVAL_S
        try:
            await rest.server_time()
        except TransientError as error:
            around.lost("exchange", error)
        else:
            around.found("exchange")
