# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The event processor's own state: its checkpoint, what it tells of itself, and who leads."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import asyncpg

from linkora.database import transient_errors
from linkora.errors import RejectedError, TransientError
from orders.chain.blocks import ChainIdentity, Header
from orders.chain.faults import printable
from orders.outcomes import State, Status
from orders.rows import Token, to_bytes, to_hex, token_of

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

COMPONENT = "order_events"
LEAD_RETRY_S = 1.0
COMMANDS = frozenset({"RECOVERY", "RESET"})
"""What an operator may write as status; anything else there is overwritten."""

READ_STATE = """
    SELECT status, status_seen, detail, chain_id::bigint AS chain_id, genesis_hash,
           contract_address, contract_code_hash, start_block, last_block, last_hash, head_block,
           finalized_block, first_order_id, first_position_id, discrepancies
    FROM system_state WHERE component = $1
"""
CREATE_STATE = """
    INSERT INTO system_state (
        component, status, status_seen, chain_id, genesis_hash, contract_address,
        contract_code_hash, start_block, last_block, last_hash, last_block_time, finalized_block,
        first_order_id, first_position_id)
    VALUES ($1, 'RECOVERY', 'RECOVERY', $2, $3, $4, $5, $6, $7, $8, to_timestamp($9::bigint), $7,
            $10, $11)
    ON CONFLICT (component) DO NOTHING
"""
TELL = """
    UPDATE system_state
    SET status = CASE WHEN status <> status_seen AND status IN ('RECOVERY', 'RESET') THEN status
                      ELSE $2 END,
        status_seen = CASE WHEN status <> status_seen AND status IN ('RECOVERY', 'RESET')
                                AND status = $2 THEN status_seen ELSE $2 END,
        detail = $3, head_block = coalesce($4, head_block),
        finalized_block = CASE WHEN $5::bigint IS NULL THEN finalized_block
                               ELSE greatest(finalized_block, least($5, last_block)) END,
        active_at = CASE WHEN $2 = 'ACTIVE' THEN now() ELSE active_at END,
        updated_at = now()
    WHERE component = $1
"""
# Another command that was written meanwhile stays.
OBEY = """
    UPDATE system_state SET status_seen = $2, detail = $3, updated_at = now()
    WHERE component = $1 AND status = $2
"""
SET_DISCREPANCIES = "UPDATE system_state SET discrepancies = $2 WHERE component = $1"
WINDOW = "SELECT number, hash FROM blocks ORDER BY number"
UNLEAD = "SELECT pg_advisory_unlock(hashtextextended($1, 0))"
TRY_LEAD = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
KNOWN_TOKENS = "SELECT address, symbol, decimals, is_assumed FROM tokens"
REFUSALS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the database's refusal of a value into ``RejectedError``."""
    try:
        yield
    except REFUSALS as error:
        raise RejectedError(f"database: {type(error).__name__}: {error}") from error


class StateStore:
    """Reads and writes ``system_state``; raises ``TransientError`` while the database is away."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def load(self) -> State | None:
        """Return the state, or None before the first scan."""
        with transient_errors():
            row = await self._pool.fetchrow(READ_STATE, COMPONENT)
        if row is None:
            return None
        return State(
            status=row["status"],
            is_command=row["status"] != row["status_seen"] and row["status"] in COMMANDS,
            identity=ChainIdentity(
                row["chain_id"], to_hex(row["genesis_hash"]), to_hex(row["contract_code_hash"])
            ),
            contract=to_hex(row["contract_address"]),
            start_block=row["start_block"],
            last_block=row["last_block"],
            last_hash=to_hex(row["last_hash"]),
            finalized_block=row["finalized_block"],
            first_order_id=row["first_order_id"],
            first_position_id=row["first_position_id"],
        )

    async def create(
        self,
        identity: ChainIdentity,
        contract: str,
        base: Header,
        first_ids: tuple[int | None, int | None],
    ) -> None:
        """Begin a scan after block ``base``; does nothing if another processor has begun.

        Raises:
            RejectedError: If the database refuses the chain's identity or the header.
        """
        with transient_errors(), refusals():
            await self._pool.execute(
                CREATE_STATE,
                COMPONENT,
                identity.chain_id,
                to_bytes(identity.genesis_hash),
                to_bytes(contract),
                to_bytes(identity.code_hash),
                base.number + 1,
                base.number,
                to_bytes(base.hash),
                base.time_s,
                *first_ids,
            )

    async def tell(
        self, status: Status, detail: str, head: int | None, finalized: int | None
    ) -> None:
        """Write status and a sign of life; an operator's command that stands there stays.

        Beside a command, ``status_seen`` alone tells how it goes, but for the command's own word:
        the two must differ for as long as it is to be obeyed.

        Args:
            status: How it goes.
            detail: Why, for people.
            head: The newest block's number, if it is known.
            finalized: The newest final block's number, if it is known; it never goes down.
        """
        with transient_errors():
            await self._pool.execute(TELL, COMPONENT, status, printable(detail), head, finalized)

    async def obey(self, command: Status, detail: str) -> None:
        """Note that an operator's command is done: where it still stands, it is one no more."""
        with transient_errors():
            await self._pool.execute(OBEY, COMPONENT, command, detail)

    async def set_discrepancies(self, count: int) -> None:
        """Write how many open orders the contract's own state contradicts."""
        with transient_errors():
            await self._pool.execute(SET_DISCREPANCIES, COMPONENT, count)

    async def window(self) -> dict[int, str]:
        """Return the hashes of the stored blocks, by number."""
        with transient_errors():
            return {row["number"]: to_hex(row["hash"]) for row in await self._pool.fetch(WINDOW)}

    async def known_tokens(self) -> dict[str, Token]:
        """Return every stored token by address."""
        with transient_errors():
            tokens = [token_of(row) for row in await self._pool.fetch(KNOWN_TOKENS)]
        return {token.address: token for token in tokens}

    @asynccontextmanager
    async def leadership(self) -> AsyncIterator["Connection"]:
        """Wait until no other processor leads, then lead as long as the connection lives.

        It saves two processors from doing the same work; what keeps them from doing harm is the
        comparison in each transaction.
        """
        with transient_errors():
            async with self._pool.acquire() as connection:
                while not await connection.fetchval(TRY_LEAD, COMPONENT):  # noqa: ASYNC110
                    await asyncio.sleep(LEAD_RETRY_S)
                try:
                    yield connection
                finally:
                    if not connection.is_closed():
                        await connection.execute(UNLEAD, COMPONENT)

    def check_lead(self, connection: "Connection") -> None:
        """Raise if the connection that leads is gone.

        Raises:
            TransientError: Then another processor may lead.
        """
        if connection.is_closed():
            raise TransientError("database: the connection that held the lead is gone")
