# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Every read of the database. All methods raise ``TransientError`` while that is away."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from linkora.database import transient_errors
from linkora.market import Candle, OrderBook
from linkora.timeframes import Timeframe
from marketdata import market_sql
from marketdata.assets import Precision
from marketdata.binance_intervals import FoldedFrame
from marketdata.binance_tickers import Day
from marketdata.candles_sql import STATEMENTS
from marketdata.klines_sql import klines
from marketdata.params import FIRST_MS, CandleRange, GapRange
from marketdata.records import book_of, candle_of
from marketdata.spans import EPOCH, moment, on_grid, spans

# Planning anew is cheaper than the generic plan that PostgreSQL tries at the sixth execution,
# which looks at every chunk of the table.
SERVER_SETTINGS = {"plan_cache_mode": "force_custom_plan"}


class CsvPage(msgspec.Struct, frozen=True):
    """Some candles as CSV lines, each with its end, and the open times that they span."""

    count: int
    first_ms: int
    last_ms: int
    text: bytes


class Queries:
    """Reads candles, books and symbols.

    Args:
        pool: Connections opened with ``SERVER_SETTINGS``.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def ping(self) -> None:
        """Return if the database answers."""
        async with self._connection() as connection:
            await connection.execute(market_sql.PING)

    # Symbols

    async def symbols(self) -> list[str]:
        """Return the known symbols in alphabetical order."""
        async with self._connection() as connection:
            return [record[0] for record in await connection.fetch(market_sql.SYMBOLS)]

    async def newest_minutes(self) -> dict[str, int]:
        """Return each symbol's newest one-minute candle's open time, Unix ms."""
        async with self._connection() as connection:
            return dict(await connection.fetch(market_sql.NEWEST_MINUTES))

    async def precision(self, symbol: str) -> Precision:
        """Return how many decimals its newest prices and amounts have."""
        async with self._connection() as connection:
            price, quantity = await connection.fetchrow(market_sql.PRECISION, symbol)
        if price is None:
            return Precision(8, 8)
        return Precision(price, quantity)

    async def newest_days(self, symbols: list[str]) -> list[Day]:
        """Return what the newest 24 hours of each symbol add up to."""
        since = _now() - timedelta(days=1)
        hour = since.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        async with self._connection() as connection:
            records = await connection.fetch(market_sql.DAYS, symbols, since, hour)
        return [Day(**dict(record)) for record in records]

    async def gaps(self, wanted: GapRange) -> list[Any]:
        """Return the ledger's entries, the oldest first, as mappings with times in Unix ms."""
        async with self._connection() as connection:
            records = await connection.fetch(
                market_sql.GAPS,
                *(wanted.symbol, moment(wanted.start_ms), moment(wanted.end_ms)),
                *(wanted.state, wanted.limit),
            )
        return list(records)

    # Candles as text

    async def candles_json(self, wanted: CandleRange) -> bytes:
        """Return the candles as a JSON array of rows."""
        is_descending = wanted.order == "desc" or wanted.start_ms is None
        sql = STATEMENTS[wanted.frame.name].json[is_descending, wanted.order == "desc"]
        return await self._body(sql, wanted, is_descending=is_descending)

    async def candles_csv(self, wanted: CandleRange) -> CsvPage:
        """Return at most ``wanted.limit`` candles as lines."""
        is_descending = wanted.order == "desc"
        sql = STATEMENTS[wanted.frame.name].csv[is_descending]
        count, first_ms, last_ms, text = await self._text(sql, wanted, is_descending=is_descending)
        return CsvPage(count, first_ms or 0, last_ms or 0, text.encode())

    async def export_range(self, wanted: CandleRange) -> CandleRange:
        """Return ``wanted`` with a start: its own, its ``limit`` newest candles', or the first."""
        if wanted.start_ms is not None:
            return wanted
        if wanted.limit is not None and wanted.order == "asc":
            newest = msgspec.structs.replace(wanted, order="desc")
            first_ms = (await self.candles_csv(newest)).first_ms
        else:
            async with self._connection() as connection:
                first_ms = await connection.fetchval(market_sql.FIRST_MINUTE, wanted.symbol)
        start_ms = FIRST_MS if first_ms is None else wanted.frame.open_ms(first_ms)
        return msgspec.structs.replace(wanted, start_ms=start_ms)

    async def klines_json(self, wanted: CandleRange) -> bytes:
        """Return the candles as Binance's rows, a JSON array, ascending."""
        is_descending = wanted.start_ms is None
        if isinstance(wanted.frame, FoldedFrame):
            wanted = on_grid(wanted)
        body = "[]"
        async with self._connection() as connection:
            for low, high in spans(wanted, _now(), is_descending=is_descending):
                sql, arguments = klines(wanted, low, high)
                count, body = await connection.fetchrow(sql, *arguments)
                if count >= wanted.limit:
                    break
        return body.encode()

    async def candle_rows(
        self, symbol: str, frame: Timeframe, limit: int
    ) -> list[tuple[int, bytes]]:
        """Return the newest ``limit`` candles as ``(open time in ms, row)``, ascending."""
        wanted = CandleRange(symbol, frame, None, None, limit, "asc")
        records = await self._records(STATEMENTS[frame.name].rows[True], wanted, is_descending=True)
        return [(record[0], record[1].encode()) for record in reversed(records)]

    # Candles as numbers

    async def candles_between(self, wanted: CandleRange) -> list[Candle]:
        """Return the candles of a range, ascending whatever ``order`` they are counted in."""
        is_descending = wanted.order == "desc" or wanted.start_ms is None
        sql = STATEMENTS[wanted.frame.name].columns[is_descending]
        records = await self._records(sql, wanted, is_descending=is_descending)
        candles = [candle_of(wanted.symbol, record) for record in records]
        return candles[::-1] if is_descending else candles

    async def newest_candles(self, symbol: str, frame: Timeframe, limit: int) -> list[Candle]:
        """Return the newest ``limit`` candles, ascending."""
        return await self.candles_between(CandleRange(symbol, frame, None, None, limit, "asc"))

    async def candles(
        self, symbol: str, frame: Timeframe, *, start_ms: int, limit: int
    ) -> list[Candle]:
        """Return the oldest ``limit`` candles from ``start_ms`` on, ascending."""
        return await self.candles_between(CandleRange(symbol, frame, start_ms, None, limit, "asc"))

    async def candles_at(
        self, symbol: str, frame: Timeframe, opens_ms: Sequence[int]
    ) -> list[Candle]:
        """Return the candles that open at the given times, as far as they exist, ascending."""
        if not opens_ms:
            return []
        opens = [moment(open_ms) for open_ms in opens_ms]
        async with self._connection() as connection:
            records = await connection.fetch(
                STATEMENTS[frame.name].at, symbol, opens, min(opens), max(opens)
            )
        return [candle_of(symbol, record) for record in records]

    # What has changed

    async def months(self, symbol: str) -> dict[int, str]:
        """Return a mark of each calendar month, by its open time in Unix ms.

        A month has another mark after a minute in it was added, closed or corrected.
        """
        async with self._connection() as connection:
            return dict(await connection.fetch(market_sql.MONTHS, symbol))

    async def changed_minutes(
        self, symbol: str, start_ms: int, end_ms: int, *, age_s: float, limit: int
    ) -> list[tuple[int, int]]:
        """Return the newest ``limit`` minutes of a span that were written in the last ``age_s``.

        Returns:
            Open time in Unix ms and time of writing in Unix µs, by the database's clock.
        """
        async with self._connection() as connection:
            records = await connection.fetch(
                market_sql.CHANGED_MINUTES,
                *(symbol, moment(start_ms), moment(end_ms), timedelta(seconds=age_s), limit),
            )
        return [(open_ms, written_us) for open_ms, written_us in records]

    # Order books

    async def newest_book(self, symbol: str) -> OrderBook | None:
        """Return the newest order book of ``symbol``."""
        async with self._connection() as connection:
            for age in (timedelta(hours=1), timedelta(days=1), None):
                since = _now() - age if age else EPOCH
                record = await connection.fetchrow(market_sql.NEWEST_BOOK, symbol, since)
                if record is not None:
                    return book_of(symbol, record)
        return None

    async def newest_books(self) -> list[OrderBook]:
        """Return each symbol's newest order book."""
        books = [await self.newest_book(symbol) for symbol in await self.symbols()]
        return [book for book in books if book is not None]

    async def _body(self, sql: str, wanted: CandleRange, *, is_descending: bool) -> bytes:
        _, body = await self._text(sql, wanted, is_descending=is_descending)
        encoded: bytes = body.encode()
        return encoded

    async def _text(self, sql: str, wanted: CandleRange, *, is_descending: bool) -> Any:
        """Return the one record of a statement that makes text; its first column counts rows."""
        return (await self._records(sql, wanted, is_descending=is_descending, is_text=True))[0]

    async def _records(
        self, sql: str, wanted: CandleRange, *, is_descending: bool, is_text: bool = False
    ) -> list[Any]:
        """Return the records of the first span that holds ``wanted.limit`` candles."""
        assert wanted.limit is not None  # noqa: S101 - for the type; whole ranges are streamed
        records: list[Any] = []
        async with self._connection() as connection:
            for low, high in spans(wanted, _now(), is_descending=is_descending):
                records = await connection.fetch(sql, wanted.symbol, low, high, wanted.limit)
                if (records[0][0] if is_text else len(records)) >= wanted.limit:
                    break
        return records

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        with transient_errors():
            async with self._pool.acquire() as connection:
                yield connection


def _now() -> datetime:
    return datetime.now(UTC)
