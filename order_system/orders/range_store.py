# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The parts of a range's transaction beside its events: what is claimed, set aside, counted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg

from orders import records
from orders.batch import Batch, NewToken
from orders.events import DeadLetter, Event
from orders.fold_store import apply_events
from orders.outcomes import Change, Incomplete
from orders.rows import to_bytes, to_hex
from orders.state_store import COMPONENT, REFUSALS

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

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
COUNT_ORDERS = "SELECT coalesce(sum(total), 0)::bigint FROM order_counts"
# Among so many ids more than there are orders, the wanted number of missing ones must be.
MISSING_ORDERS = """
    SELECT id FROM generate_series($1::bigint, least($2::bigint, $1 + $4::bigint + $3)) AS id
    WHERE NOT EXISTS (SELECT FROM orders WHERE order_id = id) LIMIT $3
"""
MAX_MISSING = 1000
"""Missing ids that are looked at one by one at once."""


async def claim(connection: "Connection", batch: Batch) -> set[tuple[str, int]]:
    """Mark the logs as processed and return those that were not before."""
    logs = [records.processed_row(event) for event in batch.events]
    logs += [records.processed_row(letter) for letter in batch.dead_letters]
    if not logs:
        return set()
    rows = await connection.fetch(INSERT_PROCESSED, records.encode(logs))
    return {(to_hex(row["tx_hash"]), row["log_index"]) for row in rows}


async def apply_one_by_one(
    connection: "Connection", events: Sequence[Event], batch: Batch
) -> tuple[list[Change], list[DeadLetter]]:
    """Apply each event in a savepoint; return the changes and the events that were refused."""
    changes: dict[int, Change] = {}
    refused = []
    for event in events:
        try:
            async with connection.transaction():
                applied = await apply_events(connection, [event], None)
                changes |= {c.order.id: c for c in applied if c.order is not None}
        except REFUSALS as error:
            refused.append(batch.dead_letter(event, f"the database refused it: {error}"))
    return list(changes.values()), refused


async def write_tokens(connection: "Connection", tokens: tuple[NewToken, ...]) -> None:
    """Store tokens that are not stored yet."""
    if tokens:
        await connection.execute(
            INSERT_TOKENS,
            [to_bytes(new.token.address) for new in tokens],
            [new.token.symbol for new in tokens],
            [new.token.decimals for new in tokens],
            [new.token.is_assumed for new in tokens],
            [new.first_block for new in tokens],
        )


async def write_dead_letters(connection: "Connection", letters: Sequence[DeadLetter]) -> None:
    """Store logs that are set aside; again with the newest reason."""
    if letters:
        rows = [records.dead_letter_row(letter) for letter in letters]
        await connection.execute(INSERT_DEAD_LETTERS, records.encode(rows), COMPONENT)


async def check_ids(
    connection: "Connection", batch: Batch, first_id: int | None, holes: int
) -> None:
    """Compare the number of orders with the contract's counter: ids are counted up by one.

    Args:
        connection: The transaction.
        batch: The range; what the contract counts is of its end.
        first_id: The first id that counts, None if that is not known.
        holes: How many ids are known to have no order.

    Raises:
        Incomplete: If there are fewer; it names ``MAX_MISSING`` ids besides the known holes.
    """
    if first_id is None or batch.next_order_id is None:
        return
    count = await connection.fetchval(COUNT_ORDERS)
    if count + holes < batch.next_order_id - first_id:
        last = batch.next_order_id - 1
        rows = await connection.fetch(MISSING_ORDERS, first_id, last, MAX_MISSING + holes, count)
        raise Incomplete([row["id"] for row in rows])
