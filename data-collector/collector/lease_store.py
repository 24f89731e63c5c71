# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Who collects which symbol: locks in the database that end with the connection that holds them.

A collector that dies, or whose machine does, loses its connection and with it every lock, so that
another one can take its symbols. PostgreSQL closes a connection whose peer is gone by the TCP
keepalive settings below: after at most 5 + 2 * 3 seconds.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import asyncpg

from linkora.database import CONNECT_TIMEOUT_S, transient_errors
from linkora.settings import DatabaseSettings

ANSWER_TIMEOUT_S = 5.0
_KEEPALIVE = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "2",
}

# The first keys of our locks are two numbers that nothing else in this database uses: 1279873107
# for being present (shared by all collectors), 1279873108 for symbols.
_APPEAR = "SELECT pg_advisory_lock_shared(1279873107, 0)"
_COUNT = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND classid = 1279873107 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_TAKE = "SELECT pg_try_advisory_lock(1279873108, hashtext($1))"
_GIVE = "SELECT pg_advisory_unlock(1279873108, hashtext($1))"


class LeaseSession:
    """One connection and the locks that it holds."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def collectors(self) -> int:
        """Return how many collectors are present, this one included."""
        with transient_errors():
            count: int = await self._connection.fetchval(_COUNT, timeout=ANSWER_TIMEOUT_S)
        return count

    async def take(self, symbol: str) -> bool:
        """Return whether the symbol is ours now; take it only once."""
        with transient_errors():
            taken: bool = await self._connection.fetchval(_TAKE, symbol, timeout=ANSWER_TIMEOUT_S)
        return taken

    async def give(self, symbols: Iterable[str]) -> None:
        """Let others have these symbols."""
        with transient_errors():
            for symbol in symbols:
                await self._connection.fetchval(_GIVE, symbol, timeout=ANSWER_TIMEOUT_S)


@asynccontextmanager
async def open_lease_session(settings: DatabaseSettings) -> AsyncIterator[LeaseSession]:
    """Yield a session that is present among the collectors until the block ends.

    Raises:
        TransientError: If the database is away, or goes away in the block.
    """
    with transient_errors():
        connection: asyncpg.Connection = await asyncpg.connect(
            host=settings.host,
            port=settings.port,
            database=settings.name,
            user=settings.user,
            password=settings.password.get_secret_value() or None,
            timeout=CONNECT_TIMEOUT_S,
            server_settings={"application_name": "data-collector leases", **_KEEPALIVE},
        )
    try:
        with transient_errors():
            await connection.execute(_APPEAR, timeout=ANSWER_TIMEOUT_S)
        yield LeaseSession(connection)
    finally:
        connection.terminate()
