# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# ruff: noqa: S608 - statements are made of constants; every value is an argument
"""What the audit reads: orders and positions to compare, and what was set aside."""

import asyncpg
import msgspec

from linkora.database import transient_errors
from orders.chain.decode import ORDER_CREATED
from orders.events import DeadLetter
from orders.lifecycle import Order, Position
from orders.rows import ORDER_COLUMNS, POSITION_COLUMNS, order_of, position_of, to_hex
from orders.state_store import COMPONENT

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
# The newest position before the first id that is missing: what is missing came after it. Among
# one id more than there are positions, one must be missing if any is.
BEFORE_MISSING_POSITION = """
    SELECT coalesce((SELECT block_number FROM positions WHERE position_id = min(id) - 1), 0)
    FROM generate_series($1::bigint,
                         least($2::bigint, $1 + (SELECT count(*) FROM positions))) AS id
    WHERE NOT EXISTS (SELECT FROM positions WHERE position_id = id)
    HAVING count(*) > 0
"""
OPEN_DEAD_LETTERS = """
    SELECT id, tx_hash, log_index, block_number, payload::text FROM dead_letters
    WHERE source = $1 AND resolved_at IS NULL ORDER BY block_number, log_index LIMIT $2
"""
DEAD_CREATIONS = """
    SELECT ('x' || right(payload->'topics'->>1, 16))::bit(64)::bigint AS id FROM dead_letters
    WHERE source = $1 AND resolved_at IS NULL AND payload->'topics'->>0 = $2
"""


class AuditStore:
    """Reads for the audit; raises ``TransientError`` while the database is away."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

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
