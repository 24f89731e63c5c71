# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The composition root: opens what there is to open, wires it, and runs the loops."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware

from linkora.database import open_pool
from linkora.errors import TransientError
from linkora.figure_store import FigureStore
from linkora.guards import guards
from linkora.health import Health
from linkora.hub import Hub
from linkora.limits import RateLimiter
from linkora.metrics import new_registry
from linkora.pubsub import open_redis
from linkora.runtime import serve_http, supervise
from linkora.sockets import Sockets
from linkora.watch import watch_over
from marketdata.answers import Answers
from marketdata.app import Deps, create_app
from marketdata.audience import Audiences
from marketdata.binance_days import Days
from marketdata.binance_facade import BinanceFacade
from marketdata.binance_refusals import refusal
from marketdata.binance_streams import BinanceAudience
from marketdata.binance_ticker_streams import TickerStreams
from marketdata.board import Board
from marketdata.docs import docs_routes
from marketdata.export import Exporter
from marketdata.history import history_routes
from marketdata.native import NativeAudience
from marketdata.newest import Newest
from marketdata.params import MAX_LIMIT
from marketdata.queries import SERVER_SETTINGS, Queries
from marketdata.relay import Relay
from marketdata.reread import Rereader
from marketdata.rest import Rest
from marketdata.settings import Settings
from marketdata.shortcut import KnownQueries, Shortcut
from marketdata.symbols import Symbols
from marketdata.trades import Trades
from marketdata.udf import Udf
from marketdata.web import page_routes
from marketdata.websocket import MarketChannels
from marketdata.workers import SharedMetrics, run_workers, watch_parent

log = structlog.get_logger(__name__)

PROBE_INTERVAL_S = 1.0
PROBE_TIMEOUT_S = 5.0
LIVE_DATA = "live_data"


class Neighbours:
    """Notes which neighbour is away, and tells everybody when that changes."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self.tell: Callable[[dict[str, Any]], None] = lambda _: None
        for name in ("database", "redis", LIVE_DATA):
            health.down(name, "not reached yet")

    def note(self, name: str, error: TransientError | None) -> None:
        """Note that ``name`` is away, or there if ``error`` is ``None``."""
        is_news = self._health.down(name, str(error)) if error else self._health.up(name)
        if not is_news:
            return
        log.warning("neighbour_changed", neighbour=name, error=str(error) if error else None)
        self.tell({"type": "status", **self._health.report()})


async def run(settings: Settings, on_listening: Callable[[int], None] | None = None) -> None:
    """Serve until cancelled.

    Args:
        settings: Everything configurable.
        on_listening: Told the port once the server listens.
    """
    if settings.api_workers > 1:
        await run_workers(settings, on_listening)
        return
    registry = new_registry()
    health = Health()
    neighbours = Neighbours(health)
    hub = Hub()
    board = Board(settings.api_max_windows, MAX_LIMIT)
    async with (
        open_pool(settings.database, name="api-server", server_settings=SERVER_SETTINGS) as pool,
        open_pool(
            settings.read_database or settings.database,
            name="api-server-history",
            server_settings=SERVER_SETTINGS,
        ) as read_pool,
        open_redis(settings.redis) as redis,
    ):
        queries = Queries(pool)
        history = Queries(read_pool) if settings.read_database else queries
        native = NativeAudience(hub, board)
        audiences = Audiences([native, BinanceAudience(hub, board)])
        rereader = Rereader(
            queries,
            board,
            audiences,
            registry=registry,
            on_reread=lambda error: neighbours.note(LIVE_DATA, error),
        )
        relay = Relay(
            redis,
            rereader,
            board,
            hub,
            audiences,
            registry=registry,
            on_redis=lambda error: neighbours.note("redis", error),
        )
        limiter = RateLimiter(redis, "api-server", settings.http.rate_limit)
        sockets = Sockets(settings.websocket, registry, heartbeat=relay.position)
        neighbours.tell = sockets.tell_all
        health.fact("symbols", lambda: len(board.symbols))
        health.fact("websocket_connections", lambda: len(sockets))
        symbols = Symbols(queries, board)
        days = Days(history, symbols)
        answers = Answers(settings.api_cache_bytes)
        known = KnownQueries(board, answers)
        newest = Newest(queries, Trades(redis), board, answers)
        exporter = Exporter(history, settings.api_max_exports)
        shared_registry, worker_loops = _worker(settings, registry)
        deps = Deps(
            rest=Rest(newest, history, symbols, exporter, known),
            doors=[
                *Udf(history, symbols).routes(),
                *BinanceFacade(history, symbols, newest, days, settings.http.rate_limit).routes(),
            ],
            hub=hub,
            sockets=sockets,
            channels=MarketChannels(
                board, queries, native.current, settings.websocket_update_interval
            ),
            health=health,
            registry=shared_registry,
            middleware=[
                *guards(settings.http, limiter, refusal=refusal),
                Middleware(Shortcut, known=known),
            ],
            page=[
                *docs_routes(),
                *history_routes(FigureStore(pool)),
                *page_routes(settings.web_orders_url, settings.order_api_port),
            ],
        )
        await supervise(
            relay.relay_candles(),
            relay.relay_books(),
            relay.relay_trades(),
            rereader.keep(),
            relay.keep_time(),
            TickerStreams(hub, board, days).keep(),
            sockets.keep(),
            limiter.keep(),
            probe(queries, "database", neighbours),
            *([probe(history, "database_read", neighbours)] if settings.read_database else []),
            *worker_loops,
            watch_over(settings, "api-server", registry, health),
            serve_http(
                create_app(deps),
                host=settings.api_host,
                port=settings.api_port,
                ws_ping_interval_s=None,  # our heartbeat is a message that clients can see
                on_listening=on_listening,
                registry=registry,
                listener=(
                    socket.socket(fileno=settings.api_worker_socket)
                    if settings.api_worker_socket is not None
                    else None
                ),
            ),
        )


def _worker(
    settings: Settings, registry: CollectorRegistry
) -> tuple[CollectorRegistry, list[Coroutine[Any, Any, None]]]:
    """Return the registry to show, and the loops that a worker needs besides."""
    if settings.api_worker is None or settings.api_worker_folder is None:
        return registry, []
    shared = SharedMetrics(registry, settings.api_worker_folder, settings.api_worker)
    shown = CollectorRegistry()
    shown.register(shared)
    return shown, [shared.keep(), watch_parent()]


async def probe(queries: Queries, name: str, neighbours: Neighbours) -> None:
    """Ask a database whether it is there, for ever."""
    while True:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await queries.ping()
        except TransientError as error:
            neighbours.note(name, error)
        except TimeoutError:
            neighbours.note(name, TransientError("database: no answer"))
        else:
            neighbours.note(name, None)
        await asyncio.sleep(PROBE_INTERVAL_S)
