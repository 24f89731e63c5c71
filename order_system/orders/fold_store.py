# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# ruff: noqa: S608 - statements are made of constants; every value is an argument
"""Events folded into orders, positions and their counts, within a transaction of the caller."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from orders import records
from orders.batch import MAX_ID, Batch, contradictions
from orders.count_store import change_counts
from orders.events import Event
from orders.lifecycle import (
    Order,
    OrderStep,
    Position,
    PositionStep,
    fold_orders,
    fold_positions,
)
from orders.outcomes import Change, Contradiction
from orders.rows import ORDER_COLUMNS, POSITION_COLUMNS, order_of, position_of, to_hex

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

EVENT_RECORD = """
    AS e(block_number bigint, log_index int, tx_hash bytea, time_s bigint, subject numeric,
         event_type text, old_status text, new_status text, event_data jsonb)
"""
INSERT_ORDER_EVENTS = f"""
    INSERT INTO order_events (block_number, log_index, tx_hash, block_time, order_id, event_type,
                              old_status, new_status, event_data)
    SELECT block_number, log_index, tx_hash, to_timestamp(time_s), subject, event_type, old_status,
           new_status, event_data
    FROM json_to_recordset($1::json) {EVENT_RECORD}
"""
INSERT_POSITION_EVENTS = f"""
    INSERT INTO position_events (block_number, log_index, tx_hash, block_time, position_id,
                                 event_type, old_status, new_status, event_data)
    SELECT block_number, log_index, tx_hash, to_timestamp(time_s), subject, event_type, old_status,
           new_status, event_data
    FROM json_to_recordset($1::json) {EVENT_RECORD}
"""
SELECT_ORDERS = f"SELECT {ORDER_COLUMNS} FROM orders WHERE order_id = ANY($1::bigint[])"
SELECT_POSITIONS = f"""
    SELECT {POSITION_COLUMNS} FROM positions WHERE position_id = ANY($1::bigint[])
"""
UPSERT_ORDERS = """
    INSERT INTO orders (
        order_id, user_address, token_in, token_out, amount_in, target_price, min_amount_out,
        order_type, is_long, self_executable, status, created_at, updated_at, executed_at,
        cancelled_at, tx_hash, block_number, log_index, executor_address, amount_out,
        execution_tx_hash, execution_block)
    SELECT order_id, user_address, token_in, token_out, amount_in, target_price, min_amount_out,
           order_type, is_long, self_executable, status, to_timestamp(created_s),
           to_timestamp(updated_s), to_timestamp(executed_s), to_timestamp(cancelled_s), tx_hash,
           block_number, log_index, executor_address, amount_out, execution_tx_hash,
           execution_block
    FROM json_to_recordset($1::json) AS o(
        order_id bigint, user_address bytea, token_in bytea, token_out bytea, amount_in numeric,
        target_price numeric, min_amount_out numeric, order_type smallint, is_long boolean,
        self_executable boolean, status text, created_s bigint, updated_s bigint,
        executed_s bigint, cancelled_s bigint, tx_hash bytea, block_number bigint, log_index int,
        executor_address bytea, amount_out numeric, execution_tx_hash bytea,
        execution_block bigint)
    ON CONFLICT (order_id) DO UPDATE SET
        user_address = excluded.user_address, token_in = excluded.token_in,
        token_out = excluded.token_out, amount_in = excluded.amount_in,
        target_price = excluded.target_price, min_amount_out = excluded.min_amount_out,
        order_type = excluded.order_type, is_long = excluded.is_long,
        self_executable = excluded.self_executable, status = excluded.status,
        created_at = excluded.created_at, updated_at = excluded.updated_at,
        executed_at = excluded.executed_at, cancelled_at = excluded.cancelled_at,
        tx_hash = excluded.tx_hash, block_number = excluded.block_number,
        log_index = excluded.log_index, executor_address = excluded.executor_address,
        amount_out = excluded.amount_out, execution_tx_hash = excluded.execution_tx_hash,
        execution_block = excluded.execution_block
"""
UPSERT_POSITIONS = """
    INSERT INTO positions (
        position_id, user_address, token, size, collateral_amount, leverage, position_type,
        entry_price, status, pnl, liquidator, opened_at, closed_at, tx_hash, block_number,
        log_index, closing_tx_hash, closing_block)
    SELECT position_id, user_address, token, size, collateral_amount, leverage, position_type,
           entry_price, status, pnl, liquidator, to_timestamp(opened_s), to_timestamp(closed_s),
           tx_hash, block_number, log_index, closing_tx_hash, closing_block
    FROM json_to_recordset($1::json) AS p(
        position_id bigint, user_address bytea, token bytea, size numeric,
        collateral_amount numeric, leverage numeric, position_type smallint, entry_price numeric,
        status text, pnl numeric, liquidator bytea, opened_s bigint, closed_s bigint,
        tx_hash bytea, block_number bigint, log_index int, closing_tx_hash bytea,
        closing_block bigint)
    ON CONFLICT (position_id) DO UPDATE SET
        user_address = excluded.user_address, token = excluded.token, size = excluded.size,
        collateral_amount = excluded.collateral_amount, leverage = excluded.leverage,
        position_type = excluded.position_type, entry_price = excluded.entry_price,
        status = excluded.status, pnl = excluded.pnl, liquidator = excluded.liquidator,
        opened_at = excluded.opened_at, closed_at = excluded.closed_at,
        tx_hash = excluded.tx_hash, block_number = excluded.block_number,
        log_index = excluded.log_index, closing_tx_hash = excluded.closing_tx_hash,
        closing_block = excluded.closing_block
"""
DELETE_ORDERS = "DELETE FROM orders WHERE order_id = ANY($1::bigint[])"
DELETE_POSITIONS = "DELETE FROM positions WHERE position_id = ANY($1::bigint[])"
EVENT_COLUMNS = """
    block_number, log_index, tx_hash, extract(epoch from block_time)::bigint AS time_s,
    event_type, event_data::text
"""
EVENTS_OF_ORDERS = f"""
    SELECT order_id::bigint AS id, {EVENT_COLUMNS} FROM order_events
    WHERE order_id = ANY($1::numeric[]) ORDER BY block_number, log_index
"""
EVENTS_OF_POSITIONS = f"""
    SELECT position_id::bigint AS id, {EVENT_COLUMNS} FROM position_events
    WHERE position_id = ANY($1::numeric[]) ORDER BY block_number, log_index
"""
SET_ORDER_STEPS = """
    UPDATE order_events o SET old_status = e.old_status, new_status = e.new_status
    FROM json_to_recordset($1::json) AS e(block_number bigint, log_index int, old_status text,
                                          new_status text)
    WHERE o.block_number = e.block_number AND o.log_index = e.log_index
"""
SET_POSITION_STEPS = SET_ORDER_STEPS.replace("order_events", "position_events")


async def apply_events(
    connection: "Connection", events: Sequence[Event], proof: Batch | None
) -> list[Change]:
    """Fold events into orders and positions and write all three.

    Args:
        connection: The transaction.
        events: Events by block and log index.
        proof: The batch whose ``contract_orders`` the result must agree with; None for any.
    """
    order_events = [event for event in events if event.is_order]
    position_events = [event for event in events if not event.is_order]
    changes = []
    if order_events:
        before = await _orders(connection, {e.id for e in order_events if e.id <= MAX_ID})
        after, steps = fold_orders(before, order_events)
        if proof is not None:
            wrong = contradictions(before | after, proof.contract_orders)
            if wrong:
                raise Contradiction(wrong)
        await connection.execute(INSERT_ORDER_EVENTS, _encoded_steps(steps))
        await _write_orders(connection, before, dict(after))
        changes = [Change(order) for order in after.values()]
    if position_events:
        ids = {e.id for e in position_events if e.id <= MAX_ID}
        positions, position_steps = fold_positions(
            await _positions(connection, ids), position_events
        )
        await connection.execute(INSERT_POSITION_EVENTS, _encoded_steps(position_steps))
        await _write_positions(connection, positions.values())
    return changes


async def refold_orders(connection: "Connection", ids: list[int]) -> list[Change]:
    """Make orders anew from their stored events, and return what changed."""
    if not ids:
        return []
    before = await _orders(connection, ids)
    rows = await connection.fetch(EVENTS_OF_ORDERS, ids)
    after, steps = fold_orders({}, [_event_of(row) for row in rows])
    gone = sorted(before.keys() - after.keys())
    await connection.execute(DELETE_ORDERS, gone)
    changed: dict[int, Order | None] = {i: o for i, o in after.items() if before.get(i) != o}
    await _write_orders(
        connection,
        {i: before[i] for i in [*changed, *gone] if i in before},
        changed | dict.fromkeys(gone),
    )
    await connection.execute(SET_ORDER_STEPS, _encoded_steps(steps))
    return [
        *(Change(order) for order in changed.values() if order is not None),
        *(Change(before[i], is_removed=True) for i in gone),
    ]


async def refold_positions(connection: "Connection", ids: list[int]) -> None:
    """Make positions anew from their stored events."""
    if not ids:
        return
    rows = await connection.fetch(EVENTS_OF_POSITIONS, ids)
    after, steps = fold_positions({}, [_event_of(row) for row in rows])
    await connection.execute(DELETE_POSITIONS, [i for i in ids if i not in after])
    await _write_positions(connection, after.values())
    await connection.execute(SET_POSITION_STEPS, _encoded_steps(steps))


async def _write_orders(
    connection: "Connection", before: dict[int, Order], after: dict[int, Order | None]
) -> None:
    """Write orders and how their numbers change; an order that is None has been deleted."""
    present = [records.order_row(order) for order in after.values() if order is not None]
    if present:
        await connection.execute(UPSERT_ORDERS, records.encode(present))
    await change_counts(connection, {i: o for i, o in before.items() if i in after}, after)


async def _write_positions(connection: "Connection", positions: Iterable[Position]) -> None:
    rows = [records.position_row(position) for position in positions]
    if rows:
        await connection.execute(UPSERT_POSITIONS, records.encode(rows))


async def _orders(connection: "Connection", ids: Iterable[int]) -> dict[int, Order]:
    orders = [order_of(row) for row in await connection.fetch(SELECT_ORDERS, list(ids))]
    return {order.id: order for order in orders}


async def _positions(connection: "Connection", ids: Iterable[int]) -> dict[int, Position]:
    rows = await connection.fetch(SELECT_POSITIONS, list(ids))
    return {position.id: position for position in map(position_of, rows)}


def _encoded_steps(steps: Sequence[OrderStep | PositionStep]) -> str:
    return records.encode(records.event_row(step) for step in steps)


def _event_of(row: asyncpg.Record) -> Event:
    return Event(
        id=row["id"],
        change=records.change_of(row["event_type"], msgspec.json.decode(row["event_data"])),
        block_number=row["block_number"],
        log_index=row["log_index"],
        tx_hash=to_hex(row["tx_hash"]),
        block_time_s=row["time_s"],
    )
