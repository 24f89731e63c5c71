# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The order books of now: the newest of each symbol, stored and told once per interval."""

import asyncio
from collections.abc import Sequence

import structlog

from collector.binance.forms import Depth, DiffEvent
from collector.binance.wire import book_of_depth
from collector.book import BookState, DiffBook
from collector.ports import BookStore, Exchange, News
from collector.surroundings import Surroundings
from linkora.errors import CorruptMessage, RejectedError, TransientError
from linkora.market import OrderBook
from linkora.timeframes import DAY_MS

log = structlog.get_logger(__name__)

SYNC_INTERVAL_S = 0.5
# Short turns of 10,000 rows: 50 symbols a second make 600 rows in that time.
FORGET_INTERVAL_S = 12.0


class LiveBooks:
    """Keeps the newest book of each symbol until its turn comes.

    Up to 20 levels come whole, by partial-depth streams; more are kept from a snapshot and the
    differences after it (``DiffBook``).
    """

    def __init__(
        self, *, store: BookStore, news: News, exchange: Exchange, around: Surroundings
    ) -> None:
        self._store = store
        self._news = news
        self._exchange = exchange
        self._around = around
        self._newest: dict[str, OrderBook] = {}
        self._deep: dict[str, DiffBook] = {}
        self._stored_id: dict[str, int] = {}

    def on_depth(self, symbol: str, depth: Depth) -> None:
        """Take over a whole book; an older one than the newest is left out."""
        newest = self._newest.get(symbol)
        if newest is None or depth.lastUpdateId >= newest.last_update_id:
            self._newest[symbol] = book_of_depth(
                symbol,
                depth,
                timestamp_ms=self._around.clock.now_ms(),
                levels=self._around.settings.orderbook_levels,
            )

    def on_diff(self, event: DiffEvent) -> None:
        """Apply a difference to a deep book.

        Raises:
            CorruptMessage: If it cannot be read; the book waits for a new snapshot then.
        """
        deep = self._deep.get(event.s)
        if deep is None:
            levels = self._around.settings.orderbook_levels
            deep = self._deep[event.s] = DiffBook(levels, snapshot_limit(levels))
        try:
            deep.apply(event)
        except CorruptMessage:
            deep.lose()  # it may be half applied
            raise

    def on_lost(self, symbols: Sequence[str]) -> None:
        """Forget the order of updates: after a restart the exchange may count anew."""
        for symbol in symbols:
            self._newest.pop(symbol, None)
            if deep := self._deep.get(symbol):
                deep.lose()

    def states(self) -> dict[str, str]:
        """Return the state of each deep book."""
        return {symbol: deep.state.value for symbol, deep in self._deep.items()}

    async def sync(self) -> None:
        """Fetch snapshots for the deep books that need one, one after the other."""
        while True:
            await asyncio.sleep(SYNC_INTERVAL_S)
            await self.sync_once()

    async def sync_once(self) -> None:
        """Fetch a snapshot for each deep book that needs one now."""
        for symbol, deep in list(self._deep.items()):
            if deep.needs_snapshot:
                await self._sync(symbol, deep)

    async def _sync(self, symbol: str, deep: DiffBook) -> None:
        limit = snapshot_limit(self._around.settings.orderbook_levels)
        try:
            snapshot = await self._exchange.depth(symbol, limit)
        except TransientError as error:
            self._around.lost("exchange", error)
            return
        except RejectedError as error:
            log.warning("snapshot_refused", symbol=symbol, reason=str(error))
            return
        self._around.found("exchange")
        try:
            is_whole = deep.load(snapshot)
        except CorruptMessage as error:
            deep.lose()
            self._around.metrics.corrupt_messages.inc()
            log.warning("snapshot_not_understood", symbol=symbol, reason=str(error))
            return
        if is_whole:
            self._around.metrics.book_resyncs.inc()
            log.info("book_synced", symbol=symbol, update=deep.last_update_id)

    async def forget(self) -> None:
        """Delete books older than ORDERBOOK_RETENTION_DAYS where the database does not itself."""
        days = self._around.settings.orderbook_retention_days
        while True:
            await asyncio.sleep(FORGET_INTERVAL_S)
            try:
                if days:
                    await self._store.forget(self._around.clock.now_ms() - days * DAY_MS)
            except TransientError as error:
                self._around.lost("database", error)

    async def store_and_tell(self) -> None:
        """Write and publish the books that have changed, every ORDERBOOK_UPDATE_INTERVAL."""
        while True:
            await asyncio.sleep(self._around.settings.orderbook_update_interval)
            books = self._changed()
            if not books:
                continue
            try:
                with self._around.metrics.write_seconds.labels("books").time():
                    await self._store.store(books)
            except TransientError as error:
                self._around.lost("database", error)
            await self._news.books(books)

    def _changed(self) -> list[OrderBook]:
        for symbol, deep in self._deep.items():
            if deep.state is BookState.SYNCED:
                # In the place of one that was polled while the stream was away.
                self._newest[symbol] = deep.book(symbol)
        books = []
        for book in self._newest.values():
            if self._stored_id.get(book.symbol) == book.last_update_id:
                continue
            self._stored_id[book.symbol] = book.last_update_id
            if is_crossed(book):
                self._around.metrics.books_crossed.inc()
                log.warning("crossed_book_refused", symbol=book.symbol, update=book.last_update_id)
                if book.symbol in self._deep:
                    self._deep[book.symbol].lose()
            else:
                books.append(book)
        return books


def snapshot_limit(levels: int) -> int:
    """Return how many levels a snapshot is asked for: more than twice those wanted."""
    return next(limit for limit in (100, 500, 1000, 5000) if limit > 2 * levels)


def is_crossed(book: OrderBook) -> bool:
    """Return whether the best bid is not below the best ask, which no true book shows."""
    return bool(book.bids and book.asks) and book.bids[0].price >= book.asks[0].price
