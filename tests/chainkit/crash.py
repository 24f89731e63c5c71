# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A pool whose connections die at a chosen statement, as they do when the process is killed."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from chainkit.rig import FAST, TABLES
from linkora.settings import DatabaseSettings


class Killed(BaseException):
    """Nothing in the process survives this."""


class Fuse:
    """Counts statements and kills after one of them.

    Args:
        at: Which statement, from 1.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0
        self.killed_at = ""

    async def guard(self, connection: asyncpg.Connection, query: str, call: Any) -> Any:
        if self.killed_at:
            raise Killed  # a dead process does nothing more
        self.count += 1
        result = await call()
        if self.count == self.at:
            self._kill(connection, query)
        return result

    def _kill(self, connection: asyncpg.Connection, query: str) -> None:
        self.killed_at = " ".join(query.split())[:60]
        connection.terminate()
        raise Killed(self.killed_at)


@contextlib.asynccontextmanager
async def open_fused_pool(settings: DatabaseSettings, fuse: Fuse) -> AsyncIterator[asyncpg.Pool]:
    """Yield a pool that dies with ``fuse``."""

    base = asyncpg.Connection

    class FusedConnection(asyncpg.Connection):
        async def execute(self, query: str, *args: Any, **options: Any) -> Any:
            return await fuse.guard(
                self, query, lambda: base.execute(self, query, *args, **options)
            )

        async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
            return await fuse.guard(self, query, lambda: base.fetch(self, query, *args, **options))

        async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
            return await fuse.guard(
                self, query, lambda: base.fetchrow(self, query, *args, **options)
            )

        async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
            return await fuse.guard(
                self, query, lambda: base.fetchval(self, query, *args, **options)
            )

    pool = asyncpg.create_pool(
        host=settings.host, port=settings.port, database=settings.name, user=settings.user,
        password=settings.password.get_secret_value() or None, min_size=0, max_size=2,
        connection_class=FusedConnection, server_settings=FAST, reset=_no_reset,
    )  # fmt: skip
    async with pool:
        try:
            yield pool
        finally:
            pool.terminate()


async def _no_reset(_: asyncpg.Connection) -> None:
    """Leave out the reset between uses: it is not a statement of ours."""


async def save(pool: asyncpg.Pool) -> None:
    """Keep the tables as they are, for `restore`."""
    for table in (*TABLES, "order_counts"):
        await pool.execute(f"CREATE TABLE saved_{table} AS TABLE {table}")


async def restore(pool: asyncpg.Pool) -> None:
    """Put the tables back as they were at `save`."""
    await pool.execute(
        ";".join(
            f"DELETE FROM {table}; INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE saved_{table}"
            for table in (*TABLES, "order_counts")
        )
    )
