# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The composition root: opens what there is to open, wires it, and runs the loops."""

import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from linkora.database import open_pool
from linkora.figure_store import FigureStore
from linkora.guards import guards
from linkora.health import Health
from linkora.limits import RateLimiter
from linkora.metrics import new_registry
from linkora.pubsub import open_redis
from linkora.runtime import serve_http, supervise
from linkora.sockets import Sockets
from linkora.watch import watch_over
from marketdata.answers import Answers
from marketdata.app import Deps, create_app
from marketdata.binance_days import Days
from marketdata.binance_facade import BinanceFacade
from marketdata.binance_refusals import refusal
from marketdata.binance_ticker_streams import TickerStreams
from marketdata.docs import docs_routes
from marketdata.export import Exporter
from marketdata.history import history_routes
from marketdata.live import Live, wire_live
from marketdata.neighbours import Neighbours, probe
from marketdata.newest import Newest
from marketdata.queries import SERVER_SETTINGS, Queries
from marketdata.rest import Rest
from marketdata.settings import Settings
from marketdata.shortcut import KnownQueries, Shortcut
from marketdata.symbols import Symbols
from marketdata.trades import Trades
from marketdata.udf import Udf
from marketdata.web import page_routes
from marketdata.websocket import MarketChannels
from marketdata.workers import SharedMetrics, run_workers, watch_parent

Loop = Coroutine[Any, Any, None]


class Outside(NamedTuple):
    """What was opened.

    Attributes:
        queries: The database that the collector writes to.
        history: It, or a replica that may lag a little.
    """

    pool: asyncpg.Pool
    queries: Queries
    history: Queries
    redis: Redis


class Answering(NamedTuple):
    """The endpoints, what is remembered of their answers, and the days that streams tell, too."""

    rest: Rest
    doors: list[Route]
    known: KnownQueries
    days: Days


async def run(settings: Settings, on_listening: Callable[[int], None] | None = None) -> None:
    """Serve until cancelled.

    Args:
        settings: Everything configurable.
        on_listening: Told the port once the server listens.
    """
    if settings.api_workers > 1:
        await run_workers(settings, on_listening)
        return
    registry, health = new_registry(), Health()
    neighbours = Neighbours(health)
    async with _opened(settings) as outside:
        live = wire_live(settings, outside.queries, outside.redis, registry, neighbours)
        limiter = RateLimiter(outside.redis, "api-server", settings.http.rate_limit)
        sockets = _sockets(settings, live, registry, health, neighbours)
        shown, worker_loops = _worker(settings, registry)
        answering = _answering(settings, outside, live)
        deps = Deps(
            rest=answering.rest,
            hub=live.hub,
            sockets=sockets,
            channels=_channels(settings, outside, live),
            health=health,
            registry=shown,
            middleware=_middleware(settings, limiter, answering.known),
            doors=answering.doors,
            page=_pages(settings, outside),
        )
        await supervise(
            *live.loops(),
            TickerStreams(live.hub, live.board, answering.days).keep(),
            sockets.keep(),
            limiter.keep(),
            *_probes(settings, outside, neighbours),
            *worker_loops,
            watch_over(settings, "api-server", registry, health),
            _serve(settings, deps, registry, on_listening),
        )


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Outside]:
    replica = settings.read_database
    options: dict[str, Any] = {"server_settings": SERVER_SETTINGS}
    async with (
        open_pool(settings.database, name="api-server", **options) as pool,
        open_pool(replica or settings.database, name="api-server-history", **options) as read_pool,
        open_redis(settings.redis) as redis,
    ):
        queries = Queries(pool)
        yield Outside(pool, queries, Queries(read_pool) if replica else queries, redis)


def _answering(settings: Settings, outside: Outside, live: Live) -> Answering:
    symbols = Symbols(outside.queries, live.board)
    days = Days(outside.history, symbols)
    history, limit = outside.history, settings.http.rate_limit
    answers = Answers(settings.api_cache_bytes)
    known = KnownQueries(live.board, answers)
    newest = Newest(outside.queries, Trades(outside.redis), live.board, answers)
    exporter = Exporter(history, settings.api_max_exports)
    rest = Rest(newest, history, symbols, exporter, known)
    doors = [
        *Udf(history, symbols).routes(),
        *BinanceFacade(history, symbols, newest, days, limit).routes(),
    ]
    return Answering(rest, doors, known, days)


def _sockets(
    settings: Settings,
    live: Live,
    registry: CollectorRegistry,
    health: Health,
    neighbours: Neighbours,
) -> Sockets:
    sockets = Sockets(settings.websocket, registry, heartbeat=live.relay.position)
    neighbours.tell = sockets.tell_all
    health.fact("symbols", lambda: len(live.board.symbols))
    health.fact("websocket_connections", lambda: len(sockets))
    return sockets


def _channels(settings: Settings, outside: Outside, live: Live) -> MarketChannels:
    interval_s = settings.websocket_update_interval
    return MarketChannels(live.board, outside.queries, live.native.current, interval_s)


def _middleware(settings: Settings, limiter: RateLimiter, known: KnownQueries) -> list[Middleware]:
    return [
        *guards(settings.http, limiter, refusal=refusal),
        Middleware(Shortcut, known=known),
    ]


def _pages(settings: Settings, outside: Outside) -> list[BaseRoute]:
    return [
        *docs_routes(),
        *history_routes(FigureStore(outside.pool)),
        *page_routes(settings.web_orders_url, settings.order_api_port),
    ]


def _probes(settings: Settings, outside: Outside, neighbours: Neighbours) -> list[Loop]:
    probes = [probe(outside.queries, "database", neighbours)]
    if settings.read_database:
        probes.append(probe(outside.history, "database_read", neighbours))
    return probes


def _serve(
    settings: Settings,
    deps: Deps,
    registry: CollectorRegistry,
    on_listening: Callable[[int], None] | None,
) -> Loop:
    given = settings.api_worker_socket
    return serve_http(
        create_app(deps),
        host=settings.api_host,
        port=settings.api_port,
        ws_ping_interval_s=None,  # our heartbeat is a message that clients can see
        on_listening=on_listening,
        registry=registry,
        listener=None if given is None else socket.socket(fileno=given),
    )


def _worker(
    settings: Settings, registry: CollectorRegistry
) -> tuple[CollectorRegistry, list[Loop]]:
    """Return the registry to show, and the loops that a worker needs besides."""
    worker, folder, parent = (
        settings.api_worker, settings.api_worker_folder, settings.api_worker_parent
    )  # fmt: skip
    if worker is None or folder is None or parent is None:
        return registry, []
    shared = SharedMetrics(registry, folder, worker)
    shown = CollectorRegistry()
    shown.register(shared)
    return shown, [shared.keep(), watch_parent(parent)]
