# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The pool of PostgreSQL connections, and which of its errors mean "later"."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from linkora.cancellation import give_way_to_cancellation
from linkora.errors import TransientError, is_of_closed_transport
from linkora.settings import DatabaseSettings

CONNECT_TIMEOUT_S = 5.0
IDLE_IN_TRANSACTION_MS = 60_000

# Away, starting, stopping, out of connections, killed by an operator, behind in its migrations.
_TRANSIENT = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    # What asyncpg says when a connection breaks between the messages of one call.
    asyncpg.InternalClientError,
)


@asynccontextmanager
async def open_pool(
    settings: DatabaseSettings, *, name: str, server_settings: dict[str, str] | None = None
) -> AsyncIterator[asyncpg.Pool]:
    """Yield a pool that connects on first use, so that it opens while the database is away.

    Args:
        settings: Where the database is and how many connections to use.
        name: ``application_name`` of the connections.
        server_settings: Further PostgreSQL settings of each connection.
    """
    pool = asyncpg.create_pool(
        host=settings.host,
        port=settings.port,
        database=settings.name,
        user=settings.user,
        password=settings.password.get_secret_value() or None,
        min_size=0,
        max_size=settings.pool_size,
        # A new connection loads the catalogues of every chunk anew: keep the old ones.
        max_inactive_connection_lifetime=0,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=settings.command_timeout_s,
        server_settings={
            "application_name": name,
            "timezone": "UTC",
            "jit": "off",
            # The server ends what we no longer wait for, also when this process has died.
            "statement_timeout": str(round(settings.command_timeout_s * 1000)),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
            **(server_settings or {}),
        },
    )
    async with pool:
        try:
            yield pool
        finally:
            pool.terminate()


@contextmanager
def transient_errors() -> Iterator[None]:
    """Turn the database's passing troubles into ``TransientError``; let the others rise.

    Raises:
        TransientError: What is worth trying again.
        asyncio.CancelledError: If the task was cancelled and the trouble came while it left, such
            as a rollback on a dead connection: nobody shall take that for a reason to go on.
    """
    try:
        yield
    except _TRANSIENT as error:
        give_way_to_cancellation(error)
        raise TransientError(f"database: {type(error).__name__}: {error}") from error
    except RuntimeError as error:
        if not is_of_closed_transport(error):
            raise
        give_way_to_cancellation(error)
        raise TransientError(f"database: {error}") from error
    except asyncpg.InterfaceError as error:
        # asyncpg says "connection is closed" and "pool is closing" by this one class.
        if "clos" in str(error) or "released" in str(error):
            give_way_to_cancellation(error)
            raise TransientError(f"database: {error}") from error
        raise
