# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Puts the collector together: opens what it needs, hands it down, supervises the loops."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TypeVar

import aiohttp
import asyncpg
import structlog
from redis.asyncio import Redis
from starlette.applications import Starlette

from collector.archived import ArchivedDays
from collector.audit import Audit
from collector.backfill import Backfill
from collector.binance.archive import Archive
from collector.binance.rest import BinanceRest
from collector.binance.stream import StreamConnection, split
from collector.binance.wire import ExchangeInfo
from collector.book_store import BookStore
from collector.books import LiveBooks
from collector.budget import RequestBudget
from collector.candle_store import CandleStore
from collector.clock import ExchangeClock
from collector.feed import Feed, stream_names
from collector.lease_store import open_lease_session
from collector.leases import Leases
from collector.live import LiveCandles
from collector.metrics import CollectorMetrics
from collector.news import News
from collector.reading import Reading
from collector.settings import Settings
from collector.surroundings import Surroundings
from collector.symbols import choose
from collector.tape import Tape
from linkora.backoff import Backoff, retry
from linkora.database import open_pool
from linkora.errors import TransientError
from linkora.health import Health
from linkora.http import EXCEPTION_HANDLERS, observability_routes
from linkora.metrics import new_registry
from linkora.pubsub import open_redis
from linkora.runtime import serve_http, supervise
from linkora.timeframes import MINUTE_MS
from linkora.watch import watch_over

log = structlog.get_logger(__name__)

T = TypeVar("T")

STREAM_PATIENCE_S = 3.0
CLOCK_INTERVAL_S = 60.0
AUDIT_INTERVAL_S = 600.0
SYMBOLS_INTERVAL_S = 1800.0
LIVE_MINUTES = 10


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
    leases = Leases(_choose(around, info), lambda: open_lease_session(settings.database), around)
    around.health.fact("symbols", lambda: list(leases.held))

    async def collect_ours() -> None:
        if leases.held:
            await _collect_symbols(leases.held, around, pool, session, rest, store, news)
        await asyncio.Event().wait()

    await supervise(
        leases.keep(),
        _while_unchanged(leases.changed, collect_ours),
        _follow_symbols(rest, leases, around),
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


async def _collect_symbols(
    symbols: Sequence[str],
    around: Surroundings,
    pool: asyncpg.Pool,
    session: aiohttp.ClientSession,
    rest: BinanceRest,
    store: CandleStore,
    news: News,
) -> None:
    settings = around.settings
    live = LiveCandles(symbols, store=store, news=news, around=around)
    books = LiveBooks(store=BookStore(pool), news=news, exchange=rest, around=around)
    tape = Tape(news=news, around=around)
    connections = _connections(around, session, symbols, Feed(live, books, tape, around))
    reading = Reading(
        live,
        books,
        exchange=rest,
        store=store,
        around=around,
        unheard=lambda: _unheard(connections, live, settings.symbol_silence_s),
    )
    history = Backfill(
        symbols,
        exchange=rest,
        store=store,
        news=news,
        around=around,
        # The newest minutes are the live candles' matter; they may have had to give some up.
        until_ms=lambda: max(live.from_ms, around.clock.minute_ms() - LIVE_MINUTES * MINUTE_MS),
        archived=ArchivedDays(Archive(url, session)) if (url := settings.archive_url) else None,
    )
    audit = Audit(exchange=rest, store=store, refetch=history.refetch, around=around)
    around.health.fact("history", history.progress)
    await supervise(
        *(connection.keep() for connection in connections),
        live.store_closes(),
        live.tell_running(),
        live.store_running(),
        tape.tell(),
        books.store_and_tell(),
        books.sync(),
        books.forget(),
        reading.chase_closes(),
        reading.verify_closes(),
        reading.poll(),
        reading.poll_books(),
        history.repair(),
        _look_after_history(history, audit, live),
    )


async def _wait_for(around: Surroundings, neighbour: str, call: Callable[[], Awaitable[T]]) -> T:
    backoff = Backoff()

    def still_away(error: TransientError) -> None:
        around.lost(neighbour, error)
        if backoff.failures == 0:
            log.warning("start_waits", neighbour=neighbour, reason=str(error))

    answer = await retry(call, on_error=still_away, backoff=backoff)
    around.found(neighbour)
    return answer


def _choose(around: Surroundings, info: ExchangeInfo) -> tuple[str, ...]:
    choice = choose(around.settings.symbols, info.symbols)
    for symbol, reason in choice.refused.items():
        log.warning("symbol_left_out", symbol=symbol, reason=reason)
    around.health.fact("symbols_left_out", lambda: choice.refused)
    return choice.collected


def _connections(
    around: Surroundings,
    session: aiohttp.ClientSession,
    symbols: Sequence[str],
    feed: Feed,
) -> list[StreamConnection]:
    settings = around.settings
    if settings.realtime_source == "poll":
        return []
    parts = split(
        symbols,
        lambda symbol: stream_names(
            symbol, settings.orderbook_levels, settings.orderbook_update_interval
        ),
        settings.streams_per_connection,
    )
    return [
        StreamConnection(settings.binance_ws_url, session, part, names, feed, settings)
        for part, names in parts
    ]


def _unheard(
    connections: Sequence[StreamConnection], live: LiveCandles, symbol_silence_s: float
) -> list[str]:
    """Return the symbols that no stream tells of at the moment."""
    heard = {
        symbol
        for connection in connections
        if connection.silence_s() < STREAM_PATIENCE_S
        for symbol in connection.symbols
        if live.silence_s(symbol) < symbol_silence_s
    }
    return [symbol for symbol in live.symbols if symbol not in heard]


async def _look_after_history(history: Backfill, audit: Audit, live: LiveCandles) -> None:
    """Fill the history and compare it; again from time to time, or when a hole is feared."""
    while True:
        await history.fill()
        await audit.compare(live.symbols)
        with suppress(TimeoutError):
            async with asyncio.timeout(AUDIT_INTERVAL_S):
                await live.history_is_incomplete.wait()
        live.history_is_incomplete.clear()


async def _follow_symbols(rest: BinanceRest, leases: Leases, around: Surroundings) -> None:
    """Take up symbols that begin to trade, let go of those that end."""
    while True:
        await asyncio.sleep(SYMBOLS_INTERVAL_S)
        try:
            leases.want(_choose(around, await rest.exchange_info()))
        except TransientError as error:
            around.lost("exchange", error)


async def _keep_time(rest: BinanceRest, around: Surroundings) -> None:
    while True:
        await asyncio.sleep(CLOCK_INTERVAL_S)
        try:
            await rest.server_time()
        except TransientError as error:
            around.lost("exchange", error)
        else:
            around.found("exchange")
