# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What becomes of an order or a position: a pure fold over its events.

The rules, in the order they are tried:

1. A creation of an id that has none: the order is PENDING. What came before it (a cancel or
   modify of an id that did not exist, which the contract allows) has changed nothing.
2. A creation of an id that exists already changes nothing; the contract never reuses an id.
3. Anything else of an id without a creation is an orphan and changes nothing.
4. EXECUTED and CANCELLED are final: what follows changes nothing.
5. A modification replaces target price and least amount out.

Status comes from events only: the contract's own flag does not tell executed from cancelled.
"""

from typing import Literal

import msgspec

from orders.events import (
    Event,
    OrderCreated,
    OrderExecuted,
    OrderModified,
    PositionClosed,
    PositionLiquidated,
    PositionOpened,
)

OrderStatus = Literal["PENDING", "EXECUTED", "CANCELLED"]
PositionStatus = Literal["OPEN", "CLOSED", "LIQUIDATED"]


class Order(msgspec.Struct, frozen=True, gc=False):
    """An order as of the newest applied event. Units as in ``orders.events``."""

    id: int
    user: str
    token_in: str
    token_out: str
    amount_in: int
    target_price: int
    min_amount_out: int
    order_type: int
    is_long: bool
    self_executable: bool
    status: OrderStatus
    block_number: int
    log_index: int
    tx_hash: str
    created_at_s: int
    updated_at_s: int
    executed_at_s: int | None = None
    cancelled_at_s: int | None = None
    executor: str | None = None
    amount_out: int | None = None
    execution_tx_hash: str | None = None
    execution_block: int | None = None


class Position(msgspec.Struct, frozen=True, gc=False):
    """A position as of the newest applied event."""

    id: int
    user: str
    token: str
    size: int
    collateral_amount: int
    leverage: int
    position_type: int
    entry_price: int
    status: PositionStatus
    block_number: int
    log_index: int
    tx_hash: str
    opened_at_s: int
    closed_at_s: int | None = None
    pnl: int | None = None
    liquidator: str | None = None
    closing_tx_hash: str | None = None
    closing_block: int | None = None


class OrderStep(msgspec.Struct, frozen=True, gc=False):
    """One event and what it did: ``new_status`` is None where it changed nothing."""

    event: Event
    old_status: OrderStatus | None
    new_status: OrderStatus | None


class PositionStep(msgspec.Struct, frozen=True, gc=False):
    """One event and what it did: ``new_status`` is None where it changed nothing."""

    event: Event
    old_status: PositionStatus | None
    new_status: PositionStatus | None


def apply_order_event(order: Order | None, event: Event) -> Order | None:
    """Return the order after ``event``; the same object if the event changes nothing.

    Args:
        order: The order before, None if its creation has not been seen.
        event: The next event of that id by block and log index. A creation has its terms.
    """
    change = event.change
    if isinstance(change, OrderCreated):
        return _created(event, change) if order is None else order
    if order is None or order.status != "PENDING":
        return order
    if isinstance(change, OrderModified):
        return msgspec.structs.replace(
            order,
            target_price=change.target_price,
            min_amount_out=change.min_amount_out,
            updated_at_s=event.block_time_s,
        )
    if isinstance(change, OrderExecuted):
        return msgspec.structs.replace(
            order,
            status="EXECUTED",
            updated_at_s=event.block_time_s,
            executed_at_s=event.block_time_s,
            executor=change.executor,
            amount_out=change.amount_out,
            execution_tx_hash=event.tx_hash,
            execution_block=event.block_number,
        )
    return msgspec.structs.replace(
        order,
        status="CANCELLED",
        updated_at_s=event.block_time_s,
        cancelled_at_s=event.block_time_s,
    )


def apply_position_event(position: Position | None, event: Event) -> Position | None:
    """Return the position after ``event``; the same object if the event changes nothing."""
    change = event.change
    if isinstance(change, PositionOpened):
        return _opened(event, change) if position is None else position
    if position is None or position.status != "OPEN":
        return position
    if not isinstance(change, PositionClosed | PositionLiquidated):
        return position
    is_liquidated = isinstance(change, PositionLiquidated)
    return msgspec.structs.replace(
        position,
        status="LIQUIDATED" if is_liquidated else "CLOSED",
        closed_at_s=event.block_time_s,
        closing_tx_hash=event.tx_hash,
        closing_block=event.block_number,
        pnl=change.pnl,
        liquidator=change.liquidator if isinstance(change, PositionLiquidated) else None,
    )


def fold_orders(
    orders: dict[int, Order], events: list[Event]
) -> tuple[dict[int, Order], list[OrderStep]]:
    """Return the orders that changed, by id, and a step for every event, in the events' order.

    Args:
        orders: The orders before, for every id among the events that has been created.
        events: Order events by block and log index.
    """
    now: dict[int, Order] = {}
    steps = []
    for event in events:
        before = now.get(event.id) or orders.get(event.id)
        after = apply_order_event(before, event)
        old_status = before.status if before else None
        if after is before or after is None:
            steps.append(OrderStep(event, old_status, None))
        else:
            now[event.id] = after
            steps.append(OrderStep(event, old_status, after.status))
    return now, steps


def fold_positions(
    positions: dict[int, Position], events: list[Event]
) -> tuple[dict[int, Position], list[PositionStep]]:
    """Return the positions that changed, by id, and a step for every event; as `fold_orders`."""
    now: dict[int, Position] = {}
    steps = []
    for event in events:
        before = now.get(event.id) or positions.get(event.id)
        after = apply_position_event(before, event)
        old_status = before.status if before else None
        if after is before or after is None:
            steps.append(PositionStep(event, old_status, None))
        else:
            now[event.id] = after
            steps.append(PositionStep(event, old_status, after.status))
    return now, steps


def _created(event: Event, change: OrderCreated) -> Order:
    terms = change.terms
    if terms is None:
        raise ValueError(f"the creation of order {event.id} came without its terms")
    return Order(
        id=event.id,
        user=change.user,
        token_in=change.token_in,
        token_out=change.token_out,
        amount_in=change.amount_in,
        target_price=terms.target_price,
        min_amount_out=terms.min_amount_out,
        order_type=terms.order_type,
        is_long=terms.is_long,
        self_executable=terms.self_executable,
        status="PENDING",
        block_number=event.block_number,
        log_index=event.log_index,
        tx_hash=event.tx_hash,
        created_at_s=event.block_time_s,
        updated_at_s=event.block_time_s,
    )


def _opened(event: Event, change: PositionOpened) -> Position:
    terms = change.terms
    if terms is None:
        raise ValueError(f"the opening of position {event.id} came without its terms")
    return Position(
        id=event.id,
        user=change.user,
        token=change.token,
        size=change.size,
        collateral_amount=terms.collateral_amount,
        leverage=terms.leverage,
        position_type=terms.position_type,
        entry_price=terms.entry_price,
        status="OPEN",
        block_number=event.block_number,
        log_index=event.log_index,
        tx_hash=event.tx_hash,
        opened_at_s=event.block_time_s,
    )
