# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The composition roots: what is opened, handed down and supervised in each process."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import structlog
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from linkora.database import open_pool
from linkora.errors import TransientError
from linkora.guards import guards
from linkora.health import Health
from linkora.http import EXCEPTION_HANDLERS, observability_routes
from linkora.hub import Hub
from linkora.limits import RateLimiter
from linkora.metrics import new_registry
from linkora.pubsub import Publisher, open_redis
from linkora.runtime import serve_http, start, supervise
from linkora.sockets import CLOSE_BEGIN_ANEW, Sockets
from linkora.watch import watch_over
from orders.app import Deps, create_app
from orders.chain.client import ChainClient
from orders.chain.pool import NodePool
from orders.chain.reader import ChainReader
from orders.chain.rpc import RpcNode
from orders.feed import Feed
from orders.follow import Follower, Gauges
from orders.heads import listen_for_heads
from orders.news import News
from orders.order_store import OrderStore
from orders.queries import Queries
from orders.scanner import Scanner
from orders.settings import Settings
from orders.standing import REDIS, Standing
from orders.state_store import StateStore
from orders.subscriptions import OrderChannels
from orders.told import Told

log = structlog.get_logger(__name__)

USAGE = "usage: python main.py api | events"
EXIT_USAGE = 2


def run(arguments: Sequence[str]) -> None:
    """Run the service that the command line names until a signal ends it.

    Raises:
        SystemExit: Always; 0 after a signal, 1 after a failure, 2 for a wrong name or setting.
    """
    services: dict[str, tuple[str, Callable[[Settings], Coroutine[Any, Any, None]]]] = {
        "api": ("order-api", run_api),
        "events": ("order-events", run_events),
    }
    if len(arguments) != 1 or arguments[0] not in services:
        sys.stderr.write(USAGE + "\n")
        raise SystemExit(EXIT_USAGE)
    name, service = services[arguments[0]]
    start(name, Settings, service)


async def run_api(settings: Settings) -> None:
    """Serve the order API."""
    registry = new_registry()
    health = Health()
    hub = Hub()
    told = Told(hub)
    async with (
        open_pool(settings.database, name="order-api") as pool,
        open_redis(settings.redis) as redis,
    ):
        queries = Queries(pool)
        limiter = RateLimiter(redis, "order-api", settings.http.rate_limit)
        sockets = Sockets(settings.websocket, registry)
        standing = Standing(queries, settings.bounds, health, lambda: len(sockets))
        deps = Deps(
            sources=queries,
            standing=standing,
            registry=registry,
            hub=hub,
            sockets=sockets,
            channels=OrderChannels(queries, told, settings.router_address),
            middleware=guards(settings.http, limiter),
            router=settings.router_address,
        )
        await supervise(
            Feed(
                redis,
                queries,
                hub,
                told,
                _teller(health),
                lambda: sockets.close_all(CLOSE_BEGIN_ANEW, "too much was missed: begin anew"),
                settings.router_address,
            ).run(),
            sockets.keep(),
            standing.watch(sockets.tell_all),
            limiter.keep(),
            watch_over(settings, "order-api", registry, health),
            serve_http(
                create_app(deps),
                host=settings.order_api_host,
                port=settings.order_api_port,
                ws_ping_interval_s=None,  # our heartbeat is a message that clients can see
                on_listening=lambda port: log.info("api_listening", port=port),
                registry=registry,
            ),
        )


async def run_events(settings: Settings) -> None:
    """Follow the chain, if there is one, and tell how that goes on ``/health``."""
    registry = new_registry()
    health = Health()
    app = Starlette(
        routes=observability_routes(health, registry), exception_handlers=EXCEPTION_HANDLERS
    )
    serving = serve_http(
        app,
        host=settings.events_host,
        port=settings.events_port,
        on_listening=lambda port: log.info("health_listening", port=port),
    )
    watching = watch_over(settings, "order-events", registry, health)
    if not settings.has_chain:
        health.fact("chain", lambda: "NOT_CONFIGURED")
        log.warning("chain_not_configured", needed="WEB3_PROVIDER and TRADING_ADDRESS")
        await supervise(serving, watching)
    async with AsyncExitStack() as stack:
        loops = await _follow_chain(settings, health, registry, stack)
        await supervise(serving, watching, *loops)


async def _follow_chain(
    settings: Settings, health: Health, registry: CollectorRegistry, stack: AsyncExitStack
) -> list[Coroutine[Any, Any, None]]:
    """Open what the event processor needs, and return its loops."""
    pool = await stack.enter_async_context(open_pool(settings.database, name="order-events"))
    redis = await stack.enter_async_context(open_redis(settings.redis))
    session = await stack.enter_async_context(
        aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=settings.request_timeout_s),
            connector=aiohttp.TCPConnector(limit_per_host=settings.fetch_workers + 2),
        )
    )
    clients = [
        ChainClient(
            RpcNode(url, session, settings.answer_bytes_max),
            settings.trading_address,
            settings.batch_calls_max,
        )
        for url in settings.web3_provider
    ]
    reader = ChainReader(NodePool(clients, settings.fetch_workers))
    state = StateStore(pool)
    news = News(
        Publisher(redis), lambda: reader.known_tokens, _teller(health), settings.router_address
    )
    scanner = Scanner(
        reader,
        state,
        OrderStore(pool, settings.window_blocks),
        settings.limits,
        news.tell,
        time.monotonic,
    )
    health.fact("providers", reader.troubles)
    wake = asyncio.Event()
    gauges = Gauges(registry)
    follower = Follower(scanner, state, health, gauges, settings.poll_interval_s, wake)
    loops = [follower.run(), news.run()]
    if settings.web3_ws_provider:
        loops.append(listen_for_heads(settings.web3_ws_provider, session, wake))
    return loops


def _teller(health: Health) -> Callable[[TransientError | None], None]:
    def tell(error: TransientError | None) -> None:
        if error is None:
            if health.up(REDIS):
                log.info("redis_reached")
        elif health.down(REDIS, str(error)):
            log.warning("redis_away", reason=str(error))

    return tell
