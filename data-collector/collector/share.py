# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Everything that collects our share of the symbols, put together anew whenever it changes."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import aiohttp
import asyncpg

from collector.archived import ArchivedDays
from collector.audit import Audit
from collector.backfill import Backfill
from collector.binance.archive import Archive
from collector.binance.rest import BinanceRest
from collector.binance.stream import StreamConnection, split
from collector.book_store import BookStore
from collector.books import LiveBooks
from collector.candle_store import CandleStore
from collector.feed import Feed, stream_names
from collector.fetching import Fetching
from collector.live import LiveCandles
from collector.news import News
from collector.reading import Reading
from collector.repair import Repair
from collector.surroundings import Surroundings
from collector.tape import Tape
from linkora.runtime import supervise
from linkora.timeframes import MINUTE_MS

STREAM_PATIENCE_S = 3.0
AUDIT_INTERVAL_S = 600.0
LIVE_MINUTES = 10


async def collect_share(
    symbols: Sequence[str],
    around: Surroundings,
    pool: asyncpg.Pool,
    session: aiohttp.ClientSession,
    rest: BinanceRest,
    store: CandleStore,
    news: News,
) -> None:
    """Collect these symbols until cancelled: everything that is made anew when they change."""
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
    fetching = Fetching(exchange=rest, store=store, news=news, around=around)
    history = Backfill(
        symbols,
        exchange=rest,
        store=store,
        fetching=fetching,
        around=around,
        # The newest minutes are the live candles' matter; they may have had to give some up.
        until_ms=lambda: max(live.from_ms, around.clock.minute_ms() - LIVE_MINUTES * MINUTE_MS),
        archived=ArchivedDays(Archive(url, session)) if (url := settings.archive_url) else None,
    )
    audit = Audit(exchange=rest, store=store, refetch=history.refetch, around=around)
    repair = Repair(symbols, fetching=fetching, store=store, around=around)
    around.health.fact("history", history.progress)
    await supervise(
        *(connection.keep() for connection in connections),
        live.closes.keep(),
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
        repair.keep(),
        _look_after_history(history, audit, live),
    )


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
                await live.closes.were_dropped.wait()
        live.closes.were_dropped.clear()
