# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# ruff: noqa: S608 - statements are made of constants; every value is an argument
"""Every write of the event processor: each range, rollback and reset is one transaction.

The row of ``system_state`` is locked first and must still name the block that the range follows
(compare and set), so that two processors at once, or one that was thought dead, do no harm. What
is derived (orders, positions, counts) is written with the events it is derived from.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from linkora.database import transient_errors
from orders import records
from orders.audit_store import AuditStore
from orders.batch import Batch, NewToken
from orders.chain.blocks import Header
from orders.chain.decode import ORDER_CREATED
from orders.events import Event
from orders.fold_store import (
    INSERT_ORDER_EVENTS,
    INSERT_POSITION_EVENTS,
    apply_events,
    refold_orders,
    refold_positions,
)
from orders.lifecycle import OrderStep
from orders.outcomes import Change, CheckpointMoved
from orders.range_store import (
    apply_one_by_one,
    check_ids,
    claim,
    write_dead_letters,
    write_tokens,
)
from orders.rows import to_bytes, to_hex
from orders.state_store import COMPONENT, refusals

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

LOCK_STATE = """
    SELECT last_block, last_hash, first_order_id FROM system_state
    WHERE component = $1 FOR UPDATE
"""
ADVANCE = """
    UPDATE system_state SET last_block = $2, last_hash = $3,
        last_block_time = to_timestamp($4::bigint), updated_at = now(),
        finalized_block = least(finalized_block, $2)
    WHERE component = $1
"""
INSERT_BLOCKS = """
    INSERT INTO blocks (number, hash, parent_hash, block_time)
    SELECT number, hash, parent_hash, to_timestamp(time_s)
    FROM json_to_recordset($1::json) AS b(number bigint, hash bytea, parent_hash bytea,
                                          time_s bigint)
    ON CONFLICT (number) DO UPDATE SET hash = excluded.hash, parent_hash = excluded.parent_hash,
                                       block_time = excluded.block_time
"""
KNOWN_HASH = "SELECT hash FROM blocks WHERE number = $1"
PRUNE_BLOCKS = "DELETE FROM blocks WHERE number <= $1"
TOUCHED_AFTER = """
    SELECT DISTINCT order_id::bigint AS id FROM order_events
    WHERE block_number > $1 AND order_id <= 9223372036854775807
"""
TOUCHED_POSITIONS_AFTER = """
    SELECT DISTINCT position_id::bigint AS id FROM position_events
    WHERE block_number > $1 AND position_id <= 9223372036854775807
"""
DELETE_AFTER = tuple(
    f"DELETE FROM {table} WHERE block_number > $1"
    for table in ("order_events", "position_events", "processed_events")
)
DELETE_DEAD_LETTERS_AFTER = "DELETE FROM dead_letters WHERE source = $2 AND block_number > $1"
DELETE_BLOCKS_AFTER = "DELETE FROM blocks WHERE number > $1"
DELETE_TOKENS_AFTER = "DELETE FROM tokens WHERE first_block > $1"
RESET = (
    """TRUNCATE order_events, position_events, processed_events, orders, positions, blocks,
                order_counts_by_time, order_counts_by_user""",
    "UPDATE order_counts SET total = 0",
    "DELETE FROM tokens WHERE first_block >= 0",
    "DELETE FROM dead_letters WHERE source = 'order_events'",
    "DELETE FROM system_state WHERE component = 'order_events'",
)
RESOLVE_DEAD_LETTER = "UPDATE dead_letters SET resolved_at = now() WHERE id = $1"


class OrderStore(AuditStore):
    """Writes ranges, rollbacks and resets; raises ``TransientError`` while the database is away.

    Args:
        pool: Connections.
        window_blocks: Blocks whose hashes are kept behind the checkpoint.
    """

    def __init__(self, pool: asyncpg.Pool, window_blocks: int) -> None:
        super().__init__(pool)
        self._window_blocks = window_blocks

    async def commit(
        self, batch: Batch, *, is_strict: bool, holes: int = 0, is_cautious: bool = False
    ) -> list[Change]:
        """Write a range with everything that follows from it, and return the orders that changed.

        Args:
            batch: The range.
            is_strict: Whether the contract's own state must agree with the events.
            holes: How many ids the contract has counted up without creating an order.
            is_cautious: Whether each event gets a savepoint of its own, so that one that the
                database refuses is set aside instead of holding up the rest.

        Raises:
            CheckpointMoved: If the range does not follow the stored checkpoint.
            Contradiction: If a log must be missing.
            Incomplete: If orders are missing.
            RejectedError: If the database refuses a value.
        """
        async with self._transaction() as connection:
            first_order_id = await self._lock(connection, batch)
            new = await claim(connection, batch)
            events = [e for e in batch.events if (e.tx_hash, e.log_index) in new]
            letters = [d for d in batch.dead_letters if (d.tx_hash, d.log_index) in new]
            await write_tokens(connection, batch.tokens)
            if is_cautious:
                changes, refused = await apply_one_by_one(connection, events, batch)
                letters += refused
                holes += sum(letter.topics[0] == ORDER_CREATED for letter in refused)
            else:
                changes = await apply_events(connection, events, batch if is_strict else None)
            await write_dead_letters(connection, letters)
            await check_ids(connection, batch, first_order_id, holes)
            await self._advance(connection, batch)
            return changes

    async def rollback(self, to: Header, expected: str) -> list[Change]:
        """Undo everything after block ``to``, and return the orders that changed.

        Args:
            to: The newest block that is still on the chain.
            expected: The checkpoint's hash as it was read.

        Raises:
            CheckpointMoved: If the checkpoint has moved since, or ``to`` is not the block that
                the tables know by its number: the chain has changed again.
            RejectedError: If the database refuses the header.
        """
        async with self._transaction() as connection:
            row = await connection.fetchrow(LOCK_STATE, COMPONENT)
            if row is None or to_hex(row["last_hash"]) != expected:
                raise CheckpointMoved
            if await connection.fetchval(KNOWN_HASH, to.number) not in {None, to_bytes(to.hash)}:
                raise CheckpointMoved
            orders = await _ids(connection, TOUCHED_AFTER, to.number)
            positions = await _ids(connection, TOUCHED_POSITIONS_AFTER, to.number)
            for statement in DELETE_AFTER:
                await connection.execute(statement, to.number)
            await connection.execute(DELETE_DEAD_LETTERS_AFTER, to.number, COMPONENT)
            await connection.execute(DELETE_BLOCKS_AFTER, to.number)
            changes = await refold_orders(connection, orders)
            await refold_positions(connection, positions)
            await connection.execute(DELETE_TOKENS_AFTER, to.number)
            await connection.execute(ADVANCE, COMPONENT, *_place(to))
            return changes

    async def reset(self) -> None:
        """Forget everything: the next scan starts anew."""
        async with self._transaction() as connection:
            await connection.fetchrow(LOCK_STATE, COMPONENT)
            for statement in RESET:
                await connection.execute(statement)

    async def apply_late(
        self, letter_id: int, event: Event, tokens: tuple[NewToken, ...]
    ) -> list[Change]:
        """Apply an event that was a dead letter, at its own place, and return what changed.

        Raises:
            RejectedError: If the database refuses a value (still).
        """
        async with self._transaction() as connection:
            await connection.fetchrow(LOCK_STATE, COMPONENT)
            await write_tokens(connection, tokens)
            step = OrderStep(event, None, None)
            insert = INSERT_ORDER_EVENTS if event.is_order else INSERT_POSITION_EVENTS
            await connection.execute(insert, records.encode([records.event_row(step)]))
            await connection.execute(RESOLVE_DEAD_LETTER, letter_id)
            if event.is_order:
                return await refold_orders(connection, [event.id])
            await refold_positions(connection, [event.id])
            return []

    async def _lock(self, connection: "Connection", batch: Batch) -> int | None:
        row = await connection.fetchrow(LOCK_STATE, COMPONENT)
        if row is None or to_hex(row["last_hash"]) != batch.parent_hash:
            raise CheckpointMoved
        first: int | None = row["first_order_id"]
        return first

    async def _advance(self, connection: "Connection", batch: Batch) -> None:
        rows = [records.block_row(header) for header in batch.headers]
        await connection.execute(INSERT_BLOCKS, records.encode(rows))
        await connection.execute(PRUNE_BLOCKS, batch.last.number - self._window_blocks)
        await connection.execute(ADVANCE, COMPONENT, *_place(batch.last))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator["Connection"]:
        with transient_errors(), refusals():
            async with self._pool.acquire() as connection, connection.transaction():
                yield connection


async def _ids(connection: "Connection", statement: str, block: int) -> list[int]:
    return [row["id"] for row in await connection.fetch(statement, block)]


def _place(header: Header) -> tuple[int, bytes, int]:
    return header.number, to_bytes(header.hash), header.time_s
