# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Every SELECT of the API server. All methods raise ``TransientError`` while the database is away.

On a hypertable the number of chunks that a query may touch sets its cost, so each one is bounded
by time on both sides: first by the span that ``limit`` candles fill where none is missing, then,
if that gave too few, by a span 16 times as wide, then by what was asked for.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from linkora.database import transient_errors
from linkora.market import Candle, Level, OrderBook
from linkora.timeframes import TIMEFRAMES, Timeframe
from marketdata.assets import Precision
from marketdata.binance_intervals import INTERVALS
from marketdata.binance_tickers import Day
from marketdata.params import FIRST_MS, LAST_MS, CandleRange, GapRange

# Planning anew is cheaper than the generic plan that PostgreSQL tries at the sixth execution,
# which looks at every chunk of the table.
SERVER_SETTINGS = {"plan_cache_mode": "force_custom_plan"}

_WIDENING = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_levels = msgspec.json.Decoder(tuple[Level, ...])

_MS = "(extract(epoch FROM {0}) * 1000)::bigint"
_ISO = """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
_AMOUNT_FIELDS = ("open_price", "high_price", "low_price", "close_price", "volume", "quote_volume")
_TAKER_FIELDS = ("taker_buy_volume", "taker_buy_quote_volume")


def _amount(column: str) -> str:
    return f"""',"{column}":' || {_quoted(column)}"""


def _quoted(column: str) -> str:
    return f"""'"' || {_plain(column)} || '"'"""


def _plain(column: str) -> str:
    # As ``plain`` has it: no zeros beyond 8 decimals, all other digits, at least 8 decimals.
    return f"(trim_scale({column}) + 0.00000000)::text"


# JSON made here costs a third of records -> Decimal -> text -> JSON in Python. Nothing needs
# escaping: each value is a number, a time or a truth value.
_ROW = " || ".join(
    [
        f"""'{{{{"timestamp":' || {_MS.format("open_time")}""",
        f"""',"open_time":"' || {_ISO.format("open_time")}""",
        f"""'","close_time":"' || {_ISO.format("close_time")} || '"'""",
        *map(_amount, _AMOUNT_FIELDS),
        "',\"trades\":' || trades",
        *map(_amount, _TAKER_FIELDS),
        """',"is_closed":' || CASE WHEN {is_closed} THEN 'true' ELSE 'false' END || '}}'""",
    ]
)
# The same as a line of CSV: nothing here needs quoting.
_LINE = " || ',' || ".join(
    [
        _MS.format("open_time"),
        _ISO.format("open_time"),
        _ISO.format("close_time"),
        *map(_plain, _AMOUNT_FIELDS),
        "trades",
        *map(_plain, _TAKER_FIELDS),
        "CASE WHEN {is_closed} THEN 'true' ELSE 'false' END",
    ]
)
_COLUMNS = ", ".join(
    [
        f"{_MS.format('open_time')} AS open_ms",
        f"{_MS.format('close_time')} AS close_ms",
        *_AMOUNT_FIELDS,
        "trades",
        *_TAKER_FIELDS,
        "{is_closed} AS is_closed",
        "{revision} AS revision",
    ]
)
# Binance's rows; the last element is a field that it no longer uses.
_KLINE = " || ',' || ".join(
    [
        "'[' || " + _MS.format("open_time"),
        *(
            f"""'"' || (trim_scale({name}) + 0.00000000)::text || '"'"""
            for name in _AMOUNT_FIELDS[:5]
        ),
        _MS.format("close_time"),
        _quoted("quote_volume"),
        "trades",
        *map(_quoted, _TAKER_FIELDS),
        """'"0"]'""",
    ]
)
# Wider candles than any table has, made of the widest table that nests in them.
_MERGED = """
    (SELECT symbol, bucket AS open_time,
            bucket + $5::interval - interval '1 millisecond' AS close_time,
            (array_agg(open_price ORDER BY open_time))[1] AS open_price,
            max(high_price) AS high_price, min(low_price) AS low_price,
            (array_agg(close_price ORDER BY open_time))[count(*)] AS close_price,
            sum(volume) AS volume, sum(quote_volume) AS quote_volume, sum(trades) AS trades,
            sum(taker_buy_volume) AS taker_buy_volume,
            sum(taker_buy_quote_volume) AS taker_buy_quote_volume
     FROM (SELECT *, date_bin($5::interval, open_time, timestamptz 'epoch') AS bucket FROM {table}
           WHERE symbol = $1 AND open_time >= $2::timestamptz
                 AND open_time < $3::timestamptz + $5::interval) AS parts
     GROUP BY symbol, bucket) AS merged
"""
_RANGE = """
    FROM {table}
    WHERE symbol = $1 AND open_time >= $2 AND open_time <= $3
    ORDER BY open_time {direction}
    LIMIT $4
"""
_AS_JSON = """
    SELECT count(*), '[' || coalesce(string_agg(row_text, ',' ORDER BY open_time {order}), '')
           || ']'
    FROM (SELECT open_time, {row} AS row_text {range}) AS candles_asked_for
"""
_AS_ROWS = "SELECT {ms} AS open_ms, {row} AS row_text {range}"
_AS_CSV = """
    SELECT count(*), min(open_ms), max(open_ms),
           coalesce(string_agg(line, E'\n' ORDER BY open_ms {order}) || E'\n', '')
    FROM (SELECT {ms} AS open_ms, {line} AS line {range}) AS candles_asked_for
"""
_AS_COLUMNS = "SELECT {columns} {range}"

_DAYS = f"""
    SELECT symbol, (array_agg(open_price ORDER BY open_time))[1] AS open,
           max(high_price) AS high, min(low_price) AS low,
           (array_agg(close_price ORDER BY open_time))[count(*)] AS close, sum(volume) AS volume,
           sum(quote_volume) AS quote_volume, sum(trades)::bigint AS trades,
           {_MS.format("min(open_time)")} AS open_ms, {_MS.format("max(close_time)")} AS close_ms
    FROM candles
    WHERE symbol = ANY($1) AND open_time > $2
    GROUP BY symbol
"""  # noqa: S608 - every part is a constant of ours
_PRECISION = """
    SELECT max(greatest(scale(trim_scale(open_price)), scale(trim_scale(high_price)),
                        scale(trim_scale(low_price)), scale(trim_scale(close_price)))),
           max(scale(trim_scale(volume)))
    FROM (SELECT * FROM candles
          WHERE symbol = $1 AND open_time > (
              SELECT last_open_time - interval '1 day' FROM collector_state WHERE symbol = $1)
          ORDER BY open_time DESC LIMIT 300) AS newest
"""
_SYMBOLS = "SELECT symbol FROM collector_state ORDER BY symbol"
_NEWEST_MINUTES = f"""
    SELECT symbol, {_MS.format("last_open_time")}
    FROM collector_state WHERE last_open_time IS NOT NULL
"""  # noqa: S608 - every part is a constant of ours
_NEWEST_BOOK = f"""
    SELECT {_MS.format('"timestamp"')}, last_update_id, bids::text, asks::text
    FROM orderbook_data
    WHERE symbol = $1 AND "timestamp" >= $2
    ORDER BY "timestamp" DESC
    LIMIT 1
"""  # noqa: S608 - as above
_FIRST_MINUTE = f"""
    SELECT {_MS.format("first_open_time")} FROM collector_state WHERE symbol = $1
"""  # noqa: S608 - as above
_GAPS = f"""
    SELECT symbol, {_MS.format("from_time")} AS from_ms, {_MS.format("to_time")} AS to_ms,
           state, reason, attempts, {_MS.format("updated_at")} AS updated_ms
    FROM candle_gaps
    WHERE ($1::text IS NULL OR symbol = $1) AND to_time > $2 AND from_time <= $3
          AND ($4::text IS NULL OR state = $4)
    ORDER BY from_time, symbol
    LIMIT $5
"""  # noqa: S608 - as above
_PING = "SELECT 1"
# As ``Ladder`` has it: its time is over, by the clock or because its last minute has closed, and
# no minute inside is still running.
_IS_ROLLUP_CLOSED = """(minutes = closed_minutes AND
    (close_time < now() OR last_open_time > close_time - interval '1 minute'))"""


class _Statements:
    """The statements of one timeframe's table."""

    def __init__(self, frame: Timeframe) -> None:
        is_minute = frame.parent is None
        names = {
            "is_closed": "is_closed" if is_minute else _IS_ROLLUP_CLOSED,
            "revision": "revision",
            "table": frame.table,
        }
        self.json: dict[tuple[bool, bool], str] = {}
        self.rows: dict[bool, str] = {}
        self.columns: dict[bool, str] = {}
        self.csv: dict[bool, str] = {}
        row = _ROW.format(**names)
        for is_descending in (False, True):
            span = _RANGE.format(direction=_direction(is_descending), **names)
            for is_newest_first in (False, True):
                self.json[is_descending, is_newest_first] = _AS_JSON.format(
                    row=row, range=span, order=_direction(is_newest_first)
                )
            self.rows[is_descending] = _AS_ROWS.format(
                ms=_MS.format("open_time"), row=row, range=span
            )
            self.csv[is_descending] = _AS_CSV.format(
                ms=_MS.format("open_time"),
                line=_LINE.format(**names),
                range=span,
                order=_direction(is_descending),
            )
            self.columns[is_descending] = _AS_COLUMNS.format(
                columns=_COLUMNS.format(**names), range=span
            )


def _direction(is_descending: bool) -> str:
    return "DESC" if is_descending else "ASC"


_STATEMENTS = {name: _Statements(frame) for name, frame in TIMEFRAMES.items()}


def _klines(table: str, *, is_merged: bool, is_descending: bool) -> str:
    source = _MERGED.format(table=table) if is_merged else table
    span = _RANGE.format(table=source, direction=_direction(is_descending))
    return _AS_JSON.format(row=_KLINE, range=span, order="ASC")


_KLINES = {
    (frame.table, is_merged, is_descending): _klines(
        frame.table, is_merged=is_merged, is_descending=is_descending
    )
    for frame in INTERVALS.values()
    for is_merged in (False, True)
    for is_descending in (False, True)
}


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
            await connection.execute(_PING)

    async def symbols(self) -> list[str]:
        """Return the known symbols in alphabetical order."""
        async with self._connection() as connection:
            return [record[0] for record in await connection.fetch(_SYMBOLS)]

    async def newest_minutes(self) -> dict[str, int]:
        """Return each symbol's newest one-minute candle's open time, Unix ms."""
        async with self._connection() as connection:
            return dict(await connection.fetch(_NEWEST_MINUTES))

    async def candles_json(self, wanted: CandleRange) -> bytes:
        """Return the candles as a JSON array of rows."""
        assert wanted.limit is not None  # noqa: S101 - for the type; whole ranges are streamed
        is_descending = wanted.order == "desc" or wanted.start_ms is None
        sql = _STATEMENTS[wanted.frame.name].json[is_descending, wanted.order == "desc"]
        count, body = 0, "[]"
        async with self._connection() as connection:
            for low, high in _spans(wanted, is_descending):
                record = await connection.fetchrow(sql, wanted.symbol, low, high, wanted.limit)
                count, body = record
                if count >= wanted.limit:
                    break
        return body.encode()

    async def export_range(self, wanted: CandleRange) -> CandleRange:
        """Return ``wanted`` with a start: its own, its ``limit`` newest candles', or the first."""
        if wanted.start_ms is not None:
            return wanted
        if wanted.limit is not None and wanted.order == "asc":
            newest = msgspec.structs.replace(wanted, order="desc")
            first_ms = (await self.candles_csv(newest)).first_ms
        else:
            async with self._connection() as connection:
                first_ms = await connection.fetchval(_FIRST_MINUTE, wanted.symbol)
        start_ms = FIRST_MS if first_ms is None else wanted.frame.open_ms(first_ms)
        return msgspec.structs.replace(wanted, start_ms=start_ms)

    async def candles_csv(self, wanted: CandleRange) -> CsvPage:
        """Return at most ``wanted.limit`` candles as lines."""
        assert wanted.limit is not None  # noqa: S101 - for the type
        is_descending = wanted.order == "desc"
        sql = _STATEMENTS[wanted.frame.name].csv[is_descending]
        page = CsvPage(0, 0, 0, b"")
        async with self._connection() as connection:
            for low, high in _spans(wanted, is_descending):
                record = await connection.fetchrow(sql, wanted.symbol, low, high, wanted.limit)
                count, first_ms, last_ms, text = record
                page = CsvPage(count, first_ms or 0, last_ms or 0, text.encode())
                if count >= wanted.limit:
                    break
        return page

    async def gaps(self, wanted: GapRange) -> list[Any]:
        """Return the ledger's entries, the oldest first, as mappings with times in Unix ms."""
        async with self._connection() as connection:
            records = await connection.fetch(
                _GAPS,
                *(wanted.symbol, _moment(wanted.start_ms), _moment(wanted.end_ms)),
                *(wanted.state, wanted.limit),
            )
        return list(records)

    async def candle_rows(
        self, symbol: str, frame: Timeframe, limit: int
    ) -> list[tuple[int, bytes]]:
        """Return the newest ``limit`` candles as ``(open time in ms, row)``, ascending."""
        records = await self._newest(_STATEMENTS[frame.name].rows[True], symbol, frame, limit)
        return [(record[0], record[1].encode()) for record in reversed(records)]

    async def klines_json(self, wanted: CandleRange) -> bytes:
        """Return the candles as Binance's rows, a JSON array, ascending."""
        assert wanted.limit is not None  # noqa: S101 - for the type
        is_descending = wanted.start_ms is None
        frame, is_merged = wanted.frame, wanted.frame.name not in TIMEFRAMES
        sql = _KLINES[frame.table, is_merged, is_descending]
        width = [timedelta(milliseconds=frame.width_ms)] if is_merged else []
        if is_merged:
            wanted = _on_grid(wanted)
        body = "[]"
        async with self._connection() as connection:
            for low, high in _spans(wanted, is_descending):
                span = (_floor(frame, low), high) if is_merged else (low, high)
                count, body = await connection.fetchrow(
                    sql, wanted.symbol, *span, wanted.limit, *width
                )
                if count >= wanted.limit:
                    break
        return body.encode()

    async def candles_between(self, wanted: CandleRange) -> list[Candle]:
        """Return the candles of a range, ascending whatever ``order`` they are counted in."""
        assert wanted.limit is not None  # noqa: S101 - for the type
        is_descending = wanted.order == "desc" or wanted.start_ms is None
        sql = _STATEMENTS[wanted.frame.name].columns[is_descending]
        records: list[Any] = []
        async with self._connection() as connection:
            for low, high in _spans(wanted, is_descending):
                records = await connection.fetch(sql, wanted.symbol, low, high, wanted.limit)
                if len(records) >= wanted.limit:
                    break
        candles = [_candle(wanted.symbol, record) for record in records]
        return candles[::-1] if is_descending else candles

    async def newest_days(self, symbols: list[str]) -> list[Day]:
        """Return what the newest 24 hours of each symbol add up to."""
        since = datetime.now(UTC) - timedelta(days=1)
        async with self._connection() as connection:
            records = await connection.fetch(_DAYS, symbols, since)
        return [Day(**dict(record)) for record in records]

    async def precision(self, symbol: str) -> Precision:
        """Return how many decimals its newest prices and amounts have."""
        async with self._connection() as connection:
            price, quantity = await connection.fetchrow(_PRECISION, symbol)
        if price is None:
            return Precision(8, 8)
        return Precision(price, quantity)

    async def newest_candles(self, symbol: str, frame: Timeframe, limit: int) -> list[Candle]:
        """Return the newest ``limit`` candles, ascending."""
        records = await self._newest(_STATEMENTS[frame.name].columns[True], symbol, frame, limit)
        return [_candle(symbol, record) for record in reversed(records)]

    async def candles(
        self, symbol: str, frame: Timeframe, *, start_ms: int, limit: int
    ) -> list[Candle]:
        """Return the oldest ``limit`` candles from ``start_ms`` on, ascending."""
        sql = _STATEMENTS[frame.name].columns[False]
        records: list[Any] = []
        async with self._connection() as connection:
            wanted = CandleRange(symbol, frame, start_ms, None, limit, "asc")
            for low, high in _spans(wanted, is_descending=False):
                records = await connection.fetch(sql, symbol, low, high, limit)
                if len(records) >= limit:
                    break
        return [_candle(symbol, record) for record in records]

    async def newest_book(self, symbol: str) -> OrderBook | None:
        """Return the newest order book of ``symbol``."""
        async with self._connection() as connection:
            for age in (timedelta(hours=1), timedelta(days=1), None):
                since = datetime.now(UTC) - age if age else _EPOCH
                record = await connection.fetchrow(_NEWEST_BOOK, symbol, since)
                if record is not None:
                    return _book(symbol, record)
        return None

    async def newest_books(self) -> list[OrderBook]:
        """Return each symbol's newest order book."""
        books = [await self.newest_book(symbol) for symbol in await self.symbols()]
        return [book for book in books if book is not None]

    async def _newest(self, sql: str, symbol: str, frame: Timeframe, limit: int) -> list[Any]:
        records: list[Any] = []
        async with self._connection() as connection:
            wanted = CandleRange(symbol, frame, None, None, limit, "asc")
            for low, high in _spans(wanted, is_descending=True):
                records = await connection.fetch(sql, symbol, low, high, limit)
                if len(records) >= limit:
                    break
        return records

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        with transient_errors():
            async with self._pool.acquire() as connection:
                yield connection


def _spans(wanted: CandleRange, is_descending: bool) -> Iterator[tuple[datetime, datetime]]:
    """Yield wider and wider spans to look into, from the end that ``limit`` counts from."""
    assert wanted.limit is not None  # noqa: S101 - for the type
    now_ms = (datetime.now(UTC) - _EPOCH) // timedelta(milliseconds=1)
    low_ms = wanted.start_ms if wanted.start_ms is not None else FIRST_MS
    high_ms = wanted.end_ms if wanted.end_ms is not None else LAST_MS
    width_ms = (wanted.limit + 2) * wanted.frame.width_ms
    for _ in range(2):
        if is_descending:
            # Nothing lies in the future; a clock that is a little off must not hide the newest.
            bound_ms = min(high_ms, now_ms) - width_ms
            if bound_ms <= low_ms:
                break
            yield _moment(bound_ms), _moment(high_ms)
        else:
            bound_ms = low_ms + width_ms
            if bound_ms >= min(high_ms, now_ms):
                break
            yield _moment(low_ms), _moment(bound_ms)
        width_ms *= _WIDENING
    yield _moment(low_ms), _moment(high_ms)


def _on_grid(wanted: CandleRange) -> CandleRange:
    """Return ``wanted`` with its start on the grid, so that no bucket is made of a part."""
    if wanted.start_ms is None:
        return wanted
    open_ms = wanted.frame.open_ms(wanted.start_ms)
    if open_ms < wanted.start_ms:
        open_ms = wanted.frame.next_open_ms(open_ms)
    return msgspec.structs.replace(wanted, start_ms=open_ms)


def _floor(frame: Timeframe, moment: datetime) -> datetime:
    return _moment(frame.open_ms((moment - _EPOCH) // timedelta(milliseconds=1)))


def _moment(time_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=time_ms)


def _candle(symbol: str, record: Any) -> Candle:
    return Candle(
        symbol=symbol,
        open_time_ms=record["open_ms"],
        close_time_ms=record["close_ms"],
        open=record["open_price"],
        high=record["high_price"],
        low=record["low_price"],
        close=record["close_price"],
        volume=record["volume"],
        quote_volume=record["quote_volume"],
        trades=record["trades"],
        taker_buy_volume=record["taker_buy_volume"],
        taker_buy_quote_volume=record["taker_buy_quote_volume"],
        is_closed=record["is_closed"],
        revision=record["revision"],
    )


def _book(symbol: str, record: Any) -> OrderBook:
    timestamp_ms, last_update_id, bids, asks = record
    return OrderBook(
        symbol=symbol,
        timestamp_ms=timestamp_ms,
        last_update_id=last_update_id,
        bids=_levels.decode(bids),
        asks=_levels.decode(asks),
    )
