# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Candles into the database: minutes, every wider candle and the ledger of gaps, together.

Each write is one transaction that first locks the symbols' rows of ``collector_state``, so that
writers of one symbol take turns and each sees what the one before has committed. The exchange's
numbers reach PostgreSQL as the strings they are.
"""

from collections.abc import Iterable, Sequence

import asyncpg
import msgspec

from collector.gap_store import GapStore
from collector.ports import Day, StoredPages
from linkora.database import transient_errors
from linkora.errors import CorruptMessage
from linkora.market import Candle
from linkora.timeframes import MINUTE_MS, floor_minute_ms

# The most rows of one transaction: TimescaleDB decompresses at most 100,000 for one, and others
# wait for the symbol meanwhile.
MAX_ROWS = 10_000
# Minutes of the same quarters of an hour are rolled up together.
_SPAN_MS = 15 * MINUTE_MS

_TOLD = """
WITH told(symbol, open_ms, close_ms, open_price, high_price, low_price, close_price, volume,
          quote_volume, trades, taker_buy_volume, taker_buy_quote_volume, is_closed) AS (
"""
_TOLD_BY_STATES = """
    SELECT symbol, open_time_ms, close_time_ms, open, high, low, close, volume,
           quote_volume, trades, taker_buy_volume, taker_buy_quote_volume, is_closed
    FROM jsonb_to_recordset($1::text::jsonb) AS state(
        symbol text, open_time_ms bigint, close_time_ms bigint, open numeric, high numeric,
        low numeric, close numeric, volume numeric, quote_volume numeric, trades bigint,
        taker_buy_volume numeric, taker_buy_quote_volume numeric, is_closed boolean)
"""
_TOLD_BY_PAGES = """
    SELECT $3::text, (row ->> 0)::bigint, (row ->> 6)::bigint, (row ->> 1)::numeric,
           (row ->> 2)::numeric, (row ->> 3)::numeric, (row ->> 4)::numeric, (row ->> 5)::numeric,
           (row ->> 7)::numeric, (row ->> 8)::bigint, (row ->> 9)::numeric, (row ->> 10)::numeric,
           (row ->> 6)::bigint < $4::bigint
    FROM unnest($1::text[]) AS page, jsonb_array_elements(page::jsonb) AS row
"""

# Opens off the grid (the exchange has them after outages) go to the minute that holds them; if
# two fall into one, the earlier stays.
#
# Who wins over what is stored: a close over anything open; of two open states the one with more
# trades; a close over another close only if the exchange's own row says so ($2), as a revision.
_WRITE = """
), written AS (
    INSERT INTO candles AS stored (
        symbol, open_time, close_time, open_price, high_price, low_price, close_price, volume,
        quote_volume, trades, taker_buy_volume, taker_buy_quote_volume, is_closed, raw_open_time)
    SELECT DISTINCT ON (symbol, 2)
        symbol, at_ms(open_ms - open_ms % 60000), at_ms(close_ms),
        open_price, high_price, low_price, close_price, volume,
        quote_volume, trades, taker_buy_volume, taker_buy_quote_volume, is_closed,
        CASE WHEN open_ms % 60000 <> 0 THEN at_ms(open_ms) END
    FROM told ORDER BY symbol, 2, open_ms, is_closed DESC, trades DESC
    ON CONFLICT (symbol, open_time) DO UPDATE SET
        close_time = excluded.close_time,
        open_price = excluded.open_price,
        high_price = excluded.high_price,
        low_price = excluded.low_price,
        close_price = excluded.close_price,
        volume = excluded.volume,
        quote_volume = excluded.quote_volume,
        trades = excluded.trades,
        taker_buy_volume = excluded.taker_buy_volume,
        taker_buy_quote_volume = excluded.taker_buy_quote_volume,
        is_closed = excluded.is_closed,
        revision = stored.revision + stored.is_closed::integer,
        raw_open_time = coalesce(excluded.raw_open_time, stored.raw_open_time),
        updated_at = now()
    WHERE CASE
        WHEN excluded.is_closed AND NOT stored.is_closed THEN true
        WHEN stored.is_closed AND NOT (excluded.is_closed AND $2::boolean) THEN false
        WHEN NOT stored.is_closed AND excluded.trades < stored.trades THEN false
        ELSE (stored.close_time, stored.open_price, stored.high_price, stored.low_price,
              stored.close_price, stored.volume, stored.quote_volume, stored.trades,
              stored.taker_buy_volume, stored.taker_buy_quote_volume)
          <> (excluded.close_time, excluded.open_price, excluded.high_price, excluded.low_price,
              excluded.close_price, excluded.volume, excluded.quote_volume, excluded.trades,
              excluded.taker_buy_volume, excluded.taker_buy_quote_volume)
    END
    RETURNING symbol, open_time, revision, is_closed
), remembered AS (
    UPDATE collector_state AS state SET
        first_open_time = least(state.first_open_time, new.first_open_time),
        last_open_time = greatest(state.last_open_time, new.last_open_time),
        last_closed_open_time = greatest(state.last_closed_open_time, new.last_closed_open_time),
        updated_at = now()
    FROM (SELECT symbol, min(open_time) AS first_open_time, max(open_time) AS last_open_time,
                 max(open_time) FILTER (WHERE is_closed) AS last_closed_open_time
          FROM written GROUP BY symbol) AS new
    WHERE state.symbol = new.symbol
)
"""
_TELL_STATES = """
SELECT symbol, ms_of(open_time) AS open_ms, revision,
       is_closed AND EXISTS (
           SELECT FROM candle_gaps AS gap
           WHERE gap.symbol = written.symbol AND gap.state <> 'repaired'
             AND gap.from_time <= open_time AND gap.to_time > open_time) AS was_missing
FROM written
"""
_TELL_PAGES = """
SELECT changed, revised, ms_of(first_time) AS first_ms, ms_of(last_time) AS last_ms,
       EXISTS (SELECT FROM candle_gaps AS gap
               WHERE gap.symbol = $3 AND gap.state <> 'repaired'
                 AND gap.from_time <= last_time AND gap.to_time > first_time) AS was_missing
FROM (SELECT count(*) AS changed, count(*) FILTER (WHERE revision > 0) AS revised,
             min(open_time) AS first_time, max(open_time) AS last_time FROM written) AS changes
"""
_WRITE_STATES = _TOLD + _TOLD_BY_STATES + _WRITE + _TELL_STATES
_WRITE_PAGES = _TOLD + _TOLD_BY_PAGES + _WRITE + _TELL_PAGES
_ROLL_UP = "SELECT roll_up($1::text[], at_ms($2), at_ms($3))"


_DAYS = """
SELECT ms_of(open_time) AS open_ms, trades, volume FROM candles_1d
WHERE symbol = $1 AND open_time >= at_ms($2) AND open_time < at_ms($3) ORDER BY open_time
"""


class CandleStore(GapStore):
    """The candles in the database. Every method raises ``TransientError`` while that is away."""

    async def store_states(
        self, candles: Sequence[Candle], *, authoritative: bool = False
    ) -> list[Candle]:
        """Write states of minutes, of any symbols, in one transaction.

        Args:
            candles: States so far; ``revision`` is ignored.
            authoritative: Whether these are the exchange's own rows, which correct a close.

        Returns:
            Those that changed something, as stored: with their revision, in the given order.

        Raises:
            CorruptMessage: If a value is impossible (negative, not a number); nothing is stored.
        """
        states = _newest(candles)
        if not states:
            return []
        told = msgspec.json.encode(list(states.values())).decode()
        async with self._locked(symbol for symbol, _ in states) as connection:
            rows = await _write(connection, _WRITE_STATES, told, authoritative)
            changed = [(row["symbol"], row["open_ms"]) for row in rows]
            for symbols, from_ms, to_ms in _spans(changed):
                await connection.execute(_ROLL_UP, symbols, from_ms, to_ms)
            for row in rows:
                if row["was_missing"]:
                    open_ms = row["open_ms"]
                    await self._settle(connection, row["symbol"], open_ms, open_ms + MINUTE_MS)
        revisions = {(row["symbol"], row["open_ms"]): row["revision"] for row in rows}
        return [
            msgspec.structs.replace(candle, revision=revisions[key])
            for key, candle in states.items()
            if key in revisions
        ]

    async def store_pages(
        self, symbol: str, pages: Sequence[bytes], *, final_before_ms: int
    ) -> StoredPages:
        """Write klines answers as they came, at most ``MAX_ROWS`` rows, in one transaction.

        Args:
            symbol: Whose rows they are.
            pages: Bodies of klines answers: JSON arrays of rows of 11 or more elements.
            final_before_ms: The exchange's time; a row that closes later is not final.

        Returns:
            How many rows are new or different, and how many of them corrected a close.

        Raises:
            CorruptMessage: If a page is not what it should be; nothing is stored.
        """
        texts = [_text(page) for page in pages]
        async with self._locked([symbol]) as connection:
            (row,) = await _write(connection, _WRITE_PAGES, texts, True, symbol, final_before_ms)
            if row["changed"]:
                first_ms, end_ms = row["first_ms"], row["last_ms"] + MINUTE_MS
                await connection.execute(_ROLL_UP, [symbol], first_ms, end_ms)
                if row["was_missing"]:
                    await self._settle(connection, symbol, first_ms, end_ms)
        return StoredPages(changed=row["changed"], revised=row["revised"])

    async def days(self, symbol: str, from_ms: int, to_ms: int) -> list[Day]:
        """Return what is stored of each day that opens from ``from_ms`` to before ``to_ms``."""
        with transient_errors():
            rows = await self._pool.fetch(_DAYS, symbol, from_ms, to_ms)
        return [Day(row["open_ms"], row["trades"], row["volume"]) for row in rows]


async def _write(
    connection: asyncpg.pool.PoolConnectionProxy, statement: str, *arguments: object
) -> list[asyncpg.Record]:
    try:
        return await connection.fetch(statement, *arguments)
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        raise CorruptMessage(f"candles refused by the database: {error}") from error


def _text(page: bytes) -> str:
    try:
        return page.decode()
    except UnicodeDecodeError as error:
        raise CorruptMessage(f"a page is not UTF-8: {error}") from error


def _newest(candles: Iterable[Candle]) -> dict[tuple[str, int], Candle]:
    """Return one state a minute: the last close, else the last of those with most trades."""
    newest: dict[tuple[str, int], Candle] = {}
    for candle in candles:
        key = (candle.symbol, floor_minute_ms(candle.open_time_ms))
        known = newest.get(key)
        if known is None or (candle.is_closed, candle.is_closed or candle.trades) >= (
            known.is_closed,
            known.is_closed or known.trades,
        ):
            newest[key] = candle
    return newest


def _spans(changed: Iterable[tuple[str, int]]) -> list[tuple[list[str], int, int]]:
    """Return what to roll up: symbols and the span ``[from, to)`` of their changed minutes."""
    of_symbol: dict[str, list[int]] = {}
    for symbol, open_ms in changed:
        of_symbol.setdefault(symbol, []).append(open_ms)
    together: dict[tuple[int, int], list[str]] = {}
    for symbol, opens in of_symbol.items():
        key = (min(opens) // _SPAN_MS, max(opens) // _SPAN_MS)
        together.setdefault(key, []).append(symbol)
    return [
        (symbols, *_bounds([ms for symbol in symbols for ms in of_symbol[symbol]]))
        for symbols in together.values()
    ]


def _bounds(opens_ms: Sequence[int]) -> tuple[int, int]:
    return min(opens_ms), max(opens_ms) + MINUTE_MS
