# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Order books into the database, many symbols at once."""

from collections.abc import Sequence

import asyncpg
import msgspec

from linkora.database import transient_errors
from linkora.decimals import plain
from linkora.market import Level, OrderBook

_STORE = """
INSERT INTO orderbook_data (symbol, "timestamp", last_update_id, bids, asks)
SELECT symbol, at_ms(time_ms), last_update_id, bids::json, asks::json
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
     AS book(symbol, time_ms, last_update_id, bids, asks)
ON CONFLICT (symbol, "timestamp") DO NOTHING
"""

# Where TimescaleDB's retention does not do it; the bound keeps each turn short.
_FORGET = """
DELETE FROM orderbook_data WHERE (symbol, "timestamp") IN (
    SELECT symbol, "timestamp" FROM orderbook_data WHERE "timestamp" < at_ms($1) LIMIT $2)
"""

_encoder = msgspec.json.Encoder()


class BookStore:
    """The order books in the database. Methods raise ``TransientError`` while that is away."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def store(self, books: Sequence[OrderBook]) -> None:
        """Add books; one that is stored already (symbol and time) stays as it is."""
        if not books:
            return
        columns = (
            [book.symbol for book in books],
            [book.timestamp_ms for book in books],
            [book.last_update_id for book in books],
            [_levels(book.bids) for book in books],
            [_levels(book.asks) for book in books],
        )
        with transient_errors():
            await self._pool.execute(_STORE, *columns)

    async def forget(self, before_ms: int, limit: int = 10_000) -> int:
        """Delete at most ``limit`` books older than ``before_ms``; return how many."""
        with transient_errors():
            done = await self._pool.execute(_FORGET, before_ms, limit)
        return int(done.removeprefix("DELETE "))


def _levels(levels: Sequence[Level]) -> str:
    """Return ``[["price", "quantity"], ...]``."""
    return _encoder.encode(
        [(plain(level.price), plain(level.quantity)) for level in levels]
    ).decode()
