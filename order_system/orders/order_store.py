# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# ruff: noqa: S608 - statements are made of constants; every value is an argument
"""Every write of the event processor: each range, rollback and reset is one transaction.

The row of ``system_state`` is locked first and must still name the block that the range follows
(compare and set), so that two processors at once, or one that was thought dead, do no harm. What
is derived (orders, positions, counts) is written with the events it is derived from.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from linkora.database import transient_errors
from linkora.errors import RejectedError
from orders import records
from orders.batch import Batch, NewToken
from orders.chain.blocks import Header
from orders.chain.decode import ORDER_CREATED
from orders.events import DeadLetter, Event
from orders.fold_store import (
    INSERT_ORDER_EVENTS,
    INSERT_POSITION_EVENTS,
    apply_events,
    refold_orders,
    refold_positions,
)
from orders.lifecycle import (
    Order,
    OrderStep,
    Position,
)
from orders.outcomes import Change, CheckpointMoved, Incomplete
from orders.rows import (
    ORDER_COLUMNS,
    POSITION_COLUMNS,
    order_of,
    position_of,
    to_bytes,
    to_hex,
)

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

COMPONENT = "order_events"
LOCK_STATE = """
    SELECT last_block, last_hash, first_order_id FROM system_state
    WHERE component = $1 FOR UPDATE
"""
ADVANCE = """
    UPDATE system_state SET last_block = $2, last_hash = $3,
        last_block_time = to_timestamp($4::bigint), updated_at = now()
    WHERE component = $1
"""
INSERT_PROCESSED = """
    INSERT INTO processed_events (tx_hash, log_index, block_number)
    SELECT tx_hash, log_index, block_number
    FROM json_to_recordset($1::json) AS e(tx_hash bytea, log_index int, block_number bigint)
    ON CONFLICT DO NOTHING
    RETURNING tx_hash, log_index
"""
INSERT_TOKENS = """
    INSERT INTO tokens (address, symbol, decimals, is_assumed, first_block)
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::smallint[], $4::boolean[], $5::bigint[])
    ON CONFLICT DO NOTHING
"""
INSERT_DEAD_LETTERS = """
    INSERT INTO dead_letters (source, reason, tx_hash, log_index, block_number, payload)
    SELECT $2, reason, tx_hash, log_index, block_number, payload
    FROM json_to_recordset($1::json) AS d(reason text, tx_hash bytea, log_index int,
                                          block_number bigint, payload jsonb)
    ON CONFLICT (source, tx_hash, log_index) DO UPDATE SET reason = excluded.reason
"""
INSERT_BLOCKS = """
    INSERT INTO blocks (number, hash, parent_hash, block_time)
    SELECT number, hash, parent_hash, to_timestamp(time_s)
    FROM json_to_recordset($1::json) AS b(number bigint, hash bytea, parent_hash bytea,
                                          time_s bigint)
    ON CONFLICT (number) DO UPDATE SET hash = excluded.hash, parent_hash = excluded.parent_hash,
                                       block_time = excluded.block_time
"""
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
                order_counts_by_minute, order_counts_by_user""",
    "UPDATE order_counts SET total = 0",
    "DELETE FROM tokens WHERE first_block >= 0",
    "DELETE FROM dead_letters WHERE source = 'order_events'",
    "DELETE FROM system_state WHERE component = 'order_events'",
)
# Open orders, those of the chain's last day, and those that somebody doubts.
TO_AUDIT = f"""
    SELECT {ORDER_COLUMNS} FROM orders
    WHERE order_id > $1 AND (
        status = 'PENDING' OR order_id = ANY($3::bigint[])
        OR updated_at >= (SELECT last_block_time - interval '1 day' FROM system_state
                          WHERE component = 'order_events'))
    ORDER BY order_id LIMIT $2
"""
OPEN_POSITIONS = f"""
    SELECT {POSITION_COLUMNS} FROM positions WHERE status = 'OPEN' AND position_id > $1
    ORDER BY position_id LIMIT $2
"""
# The newest position before the first id that is missing: what is missing came after it.
BEFORE_MISSING_POSITION = """
    SELECT coalesce((SELECT block_number FROM positions WHERE position_id = min(id) - 1), 0)
    FROM generate_series($1::bigint, $2::bigint) AS id
    WHERE NOT EXISTS (SELECT FROM positions WHERE position_id = id)
    HAVING count(*) > 0
"""
OPEN_DEAD_LETTERS = """
    SELECT id, tx_hash, log_index, block_number, payload::text FROM dead_letters
    WHERE source = $1 AND resolved_at IS NULL ORDER BY block_number, log_index LIMIT $2
"""
RESOLVE_DEAD_LETTER = "UPDATE dead_letters SET resolved_at = now() WHERE id = $1"
DEAD_CREATIONS = """
    SELECT ('x' || right(payload->'topics'->>1, 16))::bit(64)::bigint AS id FROM dead_letters
    WHERE source = $1 AND resolved_at IS NULL AND payload->'topics'->>0 = $2
"""
COUNT_DEAD_LETTERS = """
    SELECT count(*) FROM dead_letters WHERE source = $1 AND resolved_at IS NULL
"""
COUNT_ORDERS = "SELECT coalesce(sum(total), 0)::bigint FROM order_counts"
MISSING_ORDERS = """
    SELECT id FROM generate_series($1::bigint, $2::bigint) AS id
    WHERE NOT EXISTS (SELECT FROM orders WHERE order_id = id) LIMIT $3
"""
MAX_MISSING = 1000
"""Missing ids that are looked at one by one."""
REFUSALS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class OrderStore:
    """Writes ranges, rollbacks and resets; raises ``TransientError`` while the database is away.

    Args:
        pool: Connections.
        window_blocks: Blocks whose hashes are kept behind the checkpoint.
    """

    def __init__(self, pool: asyncpg.Pool, window_blocks: int) -> None:
        self._pool = pool
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
        try:
            async with self._transaction() as connection:
                first_order_id = await self._lock(connection, batch)
                new = await _claim(connection, batch)
                events = [e for e in batch.events if (e.tx_hash, e.log_index) in new]
                letters = [d for d in batch.dead_letters if (d.tx_hash, d.log_index) in new]
                await _write_tokens(connection, batch.tokens)
                if is_cautious:
                    changes, refused = await _apply_one_by_one(connection, events, batch)
                    letters += refused
                    holes += sum(letter.topics[0] == ORDER_CREATED for letter in refused)
                else:
                    changes = await apply_events(connection, events, batch if is_strict else None)
                await _write_dead_letters(connection, letters)
                await _check_ids(connection, batch, first_order_id, holes)
                await self._advance(connection, batch)
                return changes
        except REFUSALS as error:
            raise RejectedError(f"database: {type(error).__name__}: {error}") from error

    async def rollback(self, to: Header, expected: int) -> list[Change]:
        """Undo everything after block ``to``, and return the orders that changed.

        Args:
            to: The newest block that is still on the chain.
            expected: The checkpoint's block number as it was read.

        Raises:
            CheckpointMoved: If the checkpoint has moved since.
        """
        async with self._transaction() as connection:
            row = await connection.fetchrow(LOCK_STATE, COMPONENT)
            if row is None or row["last_block"] != expected:
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

    async def missing_orders(self, first: int, last: int, limit: int) -> list[int]:
        """Return ids from ``first`` to ``last`` that have no order, at most ``limit``."""
        with transient_errors():
            rows = await self._pool.fetch(MISSING_ORDERS, first, last, limit)
        return [row["id"] for row in rows]

    async def to_audit(self, after: int, limit: int, doubted: set[int]) -> list[Order]:
        """Return orders to compare with the contract, with ids above ``after``, ascending."""
        with transient_errors():
            rows = await self._pool.fetch(TO_AUDIT, after, limit, sorted(doubted))
        return [order_of(row) for row in rows]

    async def open_positions(self, after: int, limit: int) -> list[Position]:
        """Return open positions with ids above ``after``, ascending, at most ``limit``."""
        with transient_errors():
            rows = await self._pool.fetch(OPEN_POSITIONS, after, limit)
        return [position_of(row) for row in rows]

    async def before_missing_position(self, first: int, last: int) -> int | None:
        """Return the block after which a position from ``first`` to ``last`` is missing, if any."""
        with transient_errors():
            block: int | None = await self._pool.fetchval(BEFORE_MISSING_POSITION, first, last)
        return block

    async def dead_letters(self, limit: int) -> list[tuple[int, DeadLetter]]:
        """Return the open dead letters with their ids, by block, at most ``limit``."""
        with transient_errors():
            rows = await self._pool.fetch(OPEN_DEAD_LETTERS, COMPONENT, limit)
        return [(row["id"], _dead_letter_of(row)) for row in rows]

    async def dead_creations(self) -> set[int]:
        """Return the ids whose creation is an open dead letter."""
        with transient_errors():
            rows = await self._pool.fetch(DEAD_CREATIONS, COMPONENT, ORDER_CREATED)
        return {row["id"] for row in rows}

    async def count_dead_letters(self) -> int:
        """Return how many dead letters are open."""
        with transient_errors():
            count: int = await self._pool.fetchval(COUNT_DEAD_LETTERS, COMPONENT)
        return count

    async def apply_late(
        self, letter_id: int, event: Event, tokens: tuple[NewToken, ...]
    ) -> list[Change]:
        """Apply an event that was a dead letter, at its own place, and return what changed."""
        async with self._transaction() as connection:
            await connection.fetchrow(LOCK_STATE, COMPONENT)
            await _write_tokens(connection, tokens)
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
        with transient_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                yield connection


async def _claim(connection: "Connection", batch: Batch) -> set[tuple[str, int]]:
    """Mark the logs as processed and return those that were not before."""
    logs = [records.processed_row(event) for event in batch.events]
    logs += [records.processed_row(letter) for letter in batch.dead_letters]
    if not logs:
        return set()
    rows = await connection.fetch(INSERT_PROCESSED, records.encode(logs))
    return {(to_hex(row["tx_hash"]), row["log_index"]) for row in rows}


async def _apply_one_by_one(
    connection: "Connection", events: Sequence[Event], batch: Batch
) -> tuple[list[Change], list[DeadLetter]]:
    """Apply each event in a savepoint; return the changes and the events that were refused."""
    changes: dict[int, Change] = {}
    refused = []
    for event in events:
        try:
            async with connection.transaction():
                changes |= {c.order.id: c for c in await apply_events(connection, [event], None)}
        except REFUSALS as error:
            refused.append(batch.dead_letter(event, f"the database refused it: {error}"))
    return list(changes.values()), refused


async def _write_tokens(connection: "Connection", tokens: tuple[NewToken, ...]) -> None:
    if tokens:
        await connection.execute(
            INSERT_TOKENS,
            [to_bytes(new.token.address) for new in tokens],
            [new.token.symbol for new in tokens],
            [new.token.decimals for new in tokens],
            [new.token.is_assumed for new in tokens],
            [new.first_block for new in tokens],
        )


async def _write_dead_letters(connection: "Connection", letters: Sequence[DeadLetter]) -> None:
    if letters:
        rows = [records.dead_letter_row(letter) for letter in letters]
        await connection.execute(INSERT_DEAD_LETTERS, records.encode(rows), COMPONENT)


async def _check_ids(
    connection: "Connection", batch: Batch, first_id: int | None, holes: int
) -> None:
    """Compare the number of orders with the contract's counter: ids are counted up by one.

    Raises:
        Incomplete: If there are fewer.
    """
    if first_id is None or batch.next_order_id is None:
        return
    count = await connection.fetchval(COUNT_ORDERS)
    if count + holes < batch.next_order_id - first_id:
        last = batch.next_order_id - 1
        rows = await connection.fetch(MISSING_ORDERS, first_id, last, MAX_MISSING)
        raise Incomplete([row["id"] for row in rows])


async def _ids(connection: "Connection", statement: str, block: int) -> list[int]:
    return [row["id"] for row in await connection.fetch(statement, block)]


def _place(header: Header) -> tuple[int, bytes, int]:
    return header.number, to_bytes(header.hash), header.time_s


def _dead_letter_of(row: asyncpg.Record) -> DeadLetter:
    payload = msgspec.json.decode(row["payload"])
    return DeadLetter(
        block_number=row["block_number"],
        log_index=row["log_index"],
        tx_hash=to_hex(row["tx_hash"]),
        block_time_s=payload["block_time_s"],
        topics=tuple(payload["topics"]),
        data=payload["data"],
        reason="",
    )
