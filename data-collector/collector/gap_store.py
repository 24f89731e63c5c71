# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The ledger of missing minutes, and how long the exchange told us to keep away."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import asyncpg

from collector.gaps import MinuteRange
from collector.ports import Gap
from linkora.database import transient_errors

# Writers of one symbol take turns by these row locks; always in the same order, so that two
# batches never wait for each other.
_LOCK = """
SELECT symbol FROM collector_state WHERE symbol = ANY($1::text[]) ORDER BY symbol FOR UPDATE
"""
_REGISTER = """
INSERT INTO collector_state (symbol) SELECT symbol FROM unnest($1::text[]) AS symbol ORDER BY 1
ON CONFLICT DO NOTHING
"""

_MISSING = """
WITH closed AS (
    SELECT open_time, lead(open_time, 1, at_ms($3)) OVER (ORDER BY open_time) AS next_time
    FROM candles
    WHERE symbol = $1 AND open_time >= at_ms($2) AND open_time < at_ms($3) AND is_closed
), hole AS (
    SELECT open_time + interval '1 minute' AS from_time, next_time AS to_time FROM closed
    WHERE next_time > open_time + interval '1 minute'
    UNION ALL
    SELECT at_ms($2), coalesce(min(open_time), at_ms($3)) FROM closed
), missing AS (
    SELECT coalesce(range_agg(tstzrange(from_time, to_time)), '{}')
         - (SELECT coalesce(range_agg(tstzrange(from_time, to_time)), '{}') FROM candle_gaps
            WHERE symbol = $1 AND state <> 'repaired') AS spans
    FROM hole
)
SELECT ms_of(lower(span)) AS from_ms, ms_of(upper(span)) AS to_ms
FROM missing, unnest(spans) AS span ORDER BY 1
"""

# Takes the minutes in ``affected`` out of the entries that say they are missing; what is left of
# those entries is entered again.
_TAKE_OUT = """
), known AS (
    DELETE FROM candle_gaps AS gap USING affected
    WHERE gap.symbol = $1 AND gap.state <> 'repaired'
      AND tstzrange(gap.from_time, gap.to_time) && affected.spans
    RETURNING gap.*
)
INSERT INTO candle_gaps
       (symbol, from_time, to_time, state, reason, attempts, next_attempt_at, opened_at)
SELECT symbol, lower(rest), upper(rest), state, reason, attempts, next_attempt_at, opened_at
FROM known, affected, unnest(tstzmultirange(tstzrange(from_time, to_time)) - affected.spans) AS rest
"""

# $5 is null: the minutes that are neither stored nor explained become open entries, one attempt
# further than the open entries whose place they take. Else: they are explained by $5, whatever
# was said of them before.
_LACKING = """
WITH told AS (
    SELECT range_agg(tstzrange(at_ms(from_ms), at_ms(to_ms))) AS spans,
           at_ms(min(from_ms)) AS from_time, at_ms(max(to_ms)) AS to_time
    FROM unnest($2::bigint[], $3::bigint[]) AS gap(from_ms, to_ms)
), affected AS (
    SELECT spans
         - (SELECT coalesce(range_agg(tstzrange(open_time, open_time + interval '1 minute')), '{}')
            FROM candles WHERE symbol = $1 AND open_time >= told.from_time
                           AND open_time < told.to_time AND is_closed)
         - (SELECT coalesce(range_agg(tstzrange(from_time, to_time)), '{}') FROM candle_gaps
            WHERE symbol = $1 AND state = 'explained' AND $5::text IS NULL) AS spans
    FROM told
"""
_ENTER_LACKING = """
UNION ALL
SELECT $1, lower(span), upper(span),
       CASE WHEN $5::text IS NULL THEN 'open' ELSE 'explained' END, $5::text,
       1 + coalesce((SELECT max(attempts) FROM known
                     WHERE tstzrange(from_time, to_time) && span), 0),
       now() + $4 * interval '1 second',
       coalesce((SELECT min(opened_at) FROM known
                 WHERE tstzrange(from_time, to_time) && span), now())
FROM affected, unnest(affected.spans) AS span
"""
_NOTE = _LACKING + _TAKE_OUT + _ENTER_LACKING

# Takes the minutes that are stored now out of the entries that said they were missing.
_STORED = """
WITH affected AS (
    SELECT coalesce(range_agg(tstzrange(open_time, open_time + interval '1 minute')), '{}') AS spans
    FROM candles
    WHERE symbol = $1 AND open_time >= at_ms($2) AND open_time < at_ms($3) AND is_closed
"""
_ENTER_REPAIRED = """
UNION ALL
SELECT symbol, lower(came), upper(came), 'repaired', reason, attempts, next_attempt_at, opened_at
FROM known, affected, unnest(tstzmultirange(tstzrange(from_time, to_time)) * affected.spans) AS came
"""
_SETTLE = _STORED + _TAKE_OUT + _ENTER_REPAIRED

# Entries that lie side by side are one gap for whoever asks the exchange: an outage enters minute
# after minute, for every symbol.
_DUE = """
SELECT symbol, ms_of(lower(span)) AS from_ms, ms_of(upper(span)) AS to_ms, attempts
FROM (
    SELECT symbol, attempts, min(next_attempt_at) AS due_at,
           range_agg(tstzrange(from_time, to_time)) AS spans
    FROM candle_gaps
    WHERE state = 'open' AND next_attempt_at <= now() AND symbol = ANY($1::text[])
    GROUP BY symbol, attempts
) AS due, unnest(spans) AS span
ORDER BY due_at, symbol, lower(span) LIMIT $2
"""

_COUNT_OPEN = """
SELECT count(*) FROM candle_gaps WHERE state = 'open' AND symbol = ANY($1::text[])
"""

_SAVE_BAN = """
INSERT INTO request_bans AS known (host, banned_until) VALUES ($1, at_ms($2))
ON CONFLICT (host) DO UPDATE SET
    banned_until = greatest(known.banned_until, excluded.banned_until), updated_at = now()
"""
_LOAD_BAN = "SELECT ms_of(banned_until) FROM request_bans WHERE host = $1"


class GapStore:
    """The ledger in the database. Every method raises ``TransientError`` while that is away.

    Args:
        pool: Connections to the database.
        exchange: Whose bans are kept.
    """

    def __init__(self, pool: asyncpg.Pool, exchange: str = "binance") -> None:
        self._pool = pool
        self._exchange = exchange

    async def missing_ranges(self, symbol: str, from_ms: int, to_ms: int) -> list[MinuteRange]:
        """Return the minutes that are neither stored as closed nor in the ledger, in order."""
        if from_ms >= to_ms:
            return []
        with transient_errors():
            rows = await self._pool.fetch(_MISSING, symbol, from_ms, to_ms)
        return [MinuteRange(row["from_ms"], row["to_ms"]) for row in rows]

    async def note_gaps(
        self, symbol: str, gaps: Sequence[MinuteRange], *, retry_after_s: float, reason: str | None
    ) -> None:
        """Enter gaps in the ledger, as far as their minutes are not stored.

        Args:
            symbol: Whose gaps they are.
            gaps: The missing minutes.
            retry_after_s: When open ones are due again.
            reason: Why the exchange has none; ``None`` leaves them open, one attempt further.
        """
        starts, ends = [gap.from_ms for gap in gaps], [gap.to_ms for gap in gaps]
        if not gaps:
            return
        async with self._locked([symbol]) as connection:
            await connection.execute(_NOTE, symbol, starts, ends, retry_after_s, reason)

    async def open_gaps(self, symbols: Sequence[str]) -> int:
        """Return how many open gaps these symbols have."""
        with transient_errors():
            count: int = await self._pool.fetchval(_COUNT_OPEN, list(symbols))
        return count

    async def due_gaps(self, symbols: Sequence[str], limit: int) -> list[Gap]:
        """Return open gaps of these symbols whose time of retry has come, the longest due first.

        Entries side by side with as many attempts come as one gap.
        """
        with transient_errors():
            rows = await self._pool.fetch(_DUE, list(symbols), limit)
        return [
            Gap(row["symbol"], MinuteRange(row["from_ms"], row["to_ms"]), row["attempts"])
            for row in rows
        ]

    async def save_ban(self, until_ms: int) -> None:
        """Keep the time before which nothing may be asked; an earlier one changes nothing."""
        with transient_errors():
            await self._pool.execute(_SAVE_BAN, self._exchange, until_ms)

    async def load_ban(self) -> int:
        """Return the time before which nothing may be asked, Unix ms; 0 if never kept."""
        with transient_errors():
            until_ms: int | None = await self._pool.fetchval(_LOAD_BAN, self._exchange)
        return until_ms or 0

    @asynccontextmanager
    async def _locked(
        self, symbols: Iterable[str]
    ) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """Yield a connection in a transaction that no other writer of these symbols is beside."""
        wanted = sorted(set(symbols))
        with transient_errors():
            async with self._pool.acquire() as connection:
                async with connection.transaction():
                    if len(await connection.fetch(_LOCK, wanted)) == len(wanted):
                        yield connection
                        return
                # New symbols are registered with no lock held: whoever registered while holding
                # some could wait for another one that does the same.
                await connection.execute(_REGISTER, wanted)
                async with connection.transaction():
                    await connection.fetch(_LOCK, wanted)
                    yield connection

    async def _settle(
        self, connection: asyncpg.pool.PoolConnectionProxy, symbol: str, from_ms: int, to_ms: int
    ) -> None:
        """Note as repaired what is stored from ``from_ms`` to before ``to_ms``."""
        await connection.execute(_SETTLE, symbol, from_ms, to_ms)
