# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The order books of now: the newest of each symbol, stored and told once per interval."""

import asyncio
from collections.abc import Sequence

import structlog
from linkora.errors import TransientError
from linkora.market import OrderBook

from collector.binance.wire import Depth, DiffEvent, book_of_depth
from collector.ports import BookStore, News
from collector.surroundings import Surroundings

log = structlog.get_logger(__name__)


class LiveBooks:
    """Keeps the newest book of each symbol until its turn comes."""

    def __init__(
        self,
        *,
        store: BookStore,
        news: News,
        around: Surroundings,
    ) -> None:
        self._store = store
        self._news = news
        self._around = around
        self._newest: dict[str, Depth] = {}
        self._heard_ms: dict[str, int] = {}
        self._stored_id: dict[str, int] = {}

    def on_depth(self, symbol: str, depth: Depth) -> None:
        """Take over a whole book; an older one than the newest is left out."""
        newest = self._newest.get(symbol)
        if newest is None or depth.lastUpdateId >= newest.lastUpdateId:
            self._newest[symbol] = depth
            self._heard_ms[symbol] = self._around.clock.now_ms()

    def on_diff(self, event: DiffEvent) -> None:
        """Apply a difference (only where more than 20 levels are collected)."""

    def on_lost(self, symbols: Sequence[str]) -> None:
        """Forget the order of updates: after a restart the exchange may count anew."""
        for symbol in symbols:
            self._newest.pop(symbol, None)

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
        books = []
        for symbol, depth in self._newest.items():
            if self._stored_id.get(symbol) == depth.lastUpdateId:
                continue
            self._stored_id[symbol] = depth.lastUpdateId
            book = book_of_depth(
                symbol,
                depth,
                timestamp_ms=self._heard_ms[symbol],
                levels=self._around.settings.orderbook_levels,
            )
            if is_crossed(book):
                self._around.metrics.books_crossed.inc()
                log.warning("crossed_book_refused", symbol=symbol, update=book.last_update_id)
            else:
                books.append(book)
        return books


def is_crossed(book: OrderBook) -> bool:
    """Return whether the best bid is not below the best ask, which no true book shows."""
    return bool(book.bids and book.asks) and book.bids[0].price >= book.asks[0].price
