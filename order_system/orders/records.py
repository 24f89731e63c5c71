# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Events, orders and positions as rows in JSON: one parameter carries a whole batch. Pure.

The database unpacks them with ``json_to_recordset``, which takes whole numbers of any size from
strings; that is several times cheaper than encoding each value for asyncpg.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from orders.chain.blocks import Header
from orders.events import (
    EVENT_TYPES,
    DeadLetter,
    Event,
    OrderCancelled,
    OrderChange,
    OrderCreated,
    OrderExecuted,
    OrderModified,
    OrderTerms,
    PositionChange,
    PositionClosed,
    PositionLiquidated,
    PositionOpened,
    PositionTerms,
)
from orders.lifecycle import Order, OrderStep, Position, PositionStep

_encoder = msgspec.json.Encoder()


def encode(rows: Iterable[Any]) -> str:
    """Return rows as one JSON array."""
    return _encoder.encode(list(rows)).decode()


def processed_row(event: Event | DeadLetter) -> dict[str, Any]:
    """Return a row of ``processed_events``."""
    return {
        "tx_hash": bytea(event.tx_hash),
        "log_index": event.log_index,
        "block_number": event.block_number,
    }


def event_row(step: OrderStep | PositionStep) -> dict[str, Any]:
    """Return a row of ``order_events`` or ``position_events``; ``subject`` is the id."""
    event = step.event
    return {
        "block_number": event.block_number,
        "log_index": event.log_index,
        "tx_hash": bytea(event.tx_hash),
        "time_s": event.block_time_s,
        "subject": str(event.id),
        "event_type": EVENT_TYPES[type(event.change)],
        "old_status": step.old_status,
        "new_status": step.new_status,
        "event_data": event_data(event.change),
    }


def event_data(change: OrderChange | PositionChange) -> dict[str, Any]:
    """Return an event's fields, whole numbers as strings; the inverse is `change_of`."""
    data: dict[str, Any] = {}
    for name in change.__struct_fields__:
        value = getattr(change, name)
        if name == "terms":
            data |= _terms_data(value) if value is not None else {}
        else:
            data[name] = str(value) if isinstance(value, int) else value
    return data


def change_of(event_type: str, data: Mapping[str, Any]) -> OrderChange | PositionChange:
    """Return the change whose event's data these are.

    Raises:
        KeyError: If the event type is unknown or a field is missing.
    """
    return _READERS[event_type](data)


def order_row(order: Order) -> dict[str, Any]:
    """Return a row of ``orders``."""
    return {
        "order_id": order.id,
        "user_address": bytea(order.user),
        "token_in": bytea(order.token_in),
        "token_out": bytea(order.token_out),
        "amount_in": str(order.amount_in),
        "target_price": str(order.target_price),
        "min_amount_out": str(order.min_amount_out),
        "order_type": order.order_type,
        "is_long": order.is_long,
        "self_executable": order.self_executable,
        "status": order.status,
        "created_s": order.created_at_s,
        "updated_s": order.updated_at_s,
        "executed_s": order.executed_at_s,
        "cancelled_s": order.cancelled_at_s,
        "tx_hash": bytea(order.tx_hash),
        "block_number": order.block_number,
        "log_index": order.log_index,
        "executor_address": _bytea_or_none(order.executor),
        "amount_out": None if order.amount_out is None else str(order.amount_out),
        "execution_tx_hash": _bytea_or_none(order.execution_tx_hash),
        "execution_block": order.execution_block,
    }


def position_row(position: Position) -> dict[str, Any]:
    """Return a row of ``positions``."""
    return {
        "position_id": position.id,
        "user_address": bytea(position.user),
        "token": bytea(position.token),
        "size": str(position.size),
        "collateral_amount": str(position.collateral_amount),
        "leverage": str(position.leverage),
        "position_type": position.position_type,
        "entry_price": str(position.entry_price),
        "status": position.status,
        "pnl": None if position.pnl is None else str(position.pnl),
        "liquidator": _bytea_or_none(position.liquidator),
        "opened_s": position.opened_at_s,
        "closed_s": position.closed_at_s,
        "tx_hash": bytea(position.tx_hash),
        "block_number": position.block_number,
        "log_index": position.log_index,
        "closing_tx_hash": _bytea_or_none(position.closing_tx_hash),
        "closing_block": position.closing_block,
    }


def block_row(header: Header) -> dict[str, Any]:
    """Return a row of ``blocks``."""
    return {
        "number": header.number,
        "hash": bytea(header.hash),
        "parent_hash": bytea(header.parent_hash),
        "time_s": header.time_s,
    }


def dead_letter_row(letter: DeadLetter) -> dict[str, Any]:
    """Return a row of ``dead_letters``; the payload is the log as it came."""
    return {
        "reason": letter.reason,
        "tx_hash": bytea(letter.tx_hash),
        "log_index": letter.log_index,
        "block_number": letter.block_number,
        "payload": {
            "topics": letter.topics,
            "data": letter.data,
            "block_time_s": letter.block_time_s,
        },
    }


def bytea(hexadecimal: str) -> str:
    """Return 0x-hex in the form that PostgreSQL's bytea reads."""
    return "\\" + hexadecimal[1:]


def _bytea_or_none(hexadecimal: str | None) -> str | None:
    return None if hexadecimal is None else bytea(hexadecimal)


def _terms_data(terms: OrderTerms | PositionTerms) -> dict[str, Any]:
    if isinstance(terms, PositionTerms):
        return {
            "collateral_amount": str(terms.collateral_amount),
            "leverage": str(terms.leverage),
            "position_type": terms.position_type,
            "entry_price": str(terms.entry_price),
        }
    return {
        "target_price": str(terms.target_price),
        "min_amount_out": str(terms.min_amount_out),
        "order_type": terms.order_type,
        "is_long": terms.is_long,
        "self_executable": terms.self_executable,
    }


def _read_created(data: Mapping[str, Any]) -> OrderCreated:
    terms = OrderTerms(
        target_price=int(data["target_price"]),
        min_amount_out=int(data["min_amount_out"]),
        order_type=data["order_type"],
        is_long=data["is_long"],
        self_executable=data["self_executable"],
    )
    return OrderCreated(
        data["user"], data["token_in"], data["token_out"], int(data["amount_in"]), terms
    )


def _read_opened(data: Mapping[str, Any]) -> PositionOpened:
    terms = PositionTerms(
        collateral_amount=int(data["collateral_amount"]),
        leverage=int(data["leverage"]),
        position_type=data["position_type"],
        entry_price=int(data["entry_price"]),
    )
    return PositionOpened(data["user"], data["token"], int(data["size"]), terms)


_READERS: dict[str, Callable[[Mapping[str, Any]], OrderChange | PositionChange]] = {
    "CREATED": _read_created,
    "MODIFIED": lambda data: OrderModified(int(data["target_price"]), int(data["min_amount_out"])),
    "EXECUTED": lambda data: OrderExecuted(data["executor"], int(data["amount_out"])),
    "CANCELLED": lambda data: OrderCancelled(data["user"]),
    "OPENED": _read_opened,
    "CLOSED": lambda data: PositionClosed(data["user"], int(data["pnl"])),
    "LIQUIDATED": lambda data: PositionLiquidated(
        data["user"], data["liquidator"], int(data["pnl"])
    ),
}
