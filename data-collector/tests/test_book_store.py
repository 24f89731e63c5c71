# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import json
from decimal import Decimal

import asyncpg

from collector.book_store import BookStore
from linkora.database import open_pool
from linkora.market import Level, OrderBook
from linkora.settings import DatabaseSettings
from testkit.candles import START_MS


def book(time_ms: int = START_MS, *, symbol: str = "BTCUSDT", update_id: int = 7) -> OrderBook:
    return OrderBook(
        symbol=symbol,
        timestamp_ms=time_ms,
        last_update_id=update_id,
        bids=(Level(Decimal("5E-8"), Decimal("1.5")), Level(Decimal("4E-8"), Decimal(2))),
        asks=(Level(Decimal("0.1234567890"), Decimal(3)),),
    )


async def test_a_book_is_stored_as_exact_strings_best_level_first(
    either_pool: asyncpg.Pool,
) -> None:
    await BookStore(either_pool).store([book(START_MS + 123)])
    row = await either_pool.fetchrow(
        'SELECT symbol, ms_of("timestamp"), last_update_id, bids, asks FROM orderbook_data'
    )
    assert tuple(row)[:3] == ("BTCUSDT", START_MS + 123, 7)
    assert json.loads(row["bids"]) == [["0.00000005", "1.50000000"], ["0.00000004", "2.00000000"]]
    assert json.loads(row["asks"]) == [["0.123456789", "3.00000000"]]


async def test_books_of_many_symbols_are_stored_together_and_once(
    either_pool: asyncpg.Pool,
) -> None:
    store = BookStore(either_pool)
    await store.store([])
    await store.store([book(), book(symbol="ETHUSDT"), book(update_id=8)])
    await store.store([book(update_id=9), book(START_MS + 1000)])
    rows = await either_pool.fetch(
        'SELECT symbol, last_update_id FROM orderbook_data ORDER BY symbol, "timestamp"'
    )
    assert [tuple(row) for row in rows] == [("BTCUSDT", 7), ("BTCUSDT", 7), ("ETHUSDT", 7)]


async def test_old_books_are_forgotten_in_bounded_turns(either_pool: asyncpg.Pool) -> None:
    store = BookStore(either_pool)
    await store.store([book(START_MS + second * 1000) for second in range(10)])
    limit_ms = START_MS + 6000
    assert [await store.forget(limit_ms, limit=4) for _ in range(3)] == [4, 2, 0]
    assert await either_pool.fetchval("SELECT count(*) FROM orderbook_data") == 4


async def test_compressed_books_read_the_same(timescale_database: DatabaseSettings) -> None:
    async with open_pool(timescale_database, name="tests") as pool:
        await BookStore(pool).store([book(START_MS + second * 1000) for second in range(50)])
        query = 'SELECT "timestamp", bids::text, asks::text FROM orderbook_data ORDER BY 1'
        before = await pool.fetch(query)
        await pool.execute("SELECT compress_chunk(c) FROM show_chunks('orderbook_data') AS c")
        assert await pool.fetch(query) == before
