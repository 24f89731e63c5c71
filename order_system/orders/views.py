# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Orders, positions and events as clients see them: scaled amounts, exact integers beside. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from linkora.decimals import scaled
from orders.lifecycle import Order, Position
from orders.rows import Token

PRICE_DECIMALS = 18
"""Prices of the contract are fixed-point numbers with 18 decimals, whatever the tokens."""
ORDER_TYPES = {0: "LIMIT", 1: "STOP", 2: "MARKET", 3: "CONDITIONAL"}
POSITION_TYPES = {0: "LONG", 1: "SHORT"}

Tokens = Mapping[str, Token]


class OrderView(msgspec.Struct, frozen=True):
    """A listed order. ``…_raw`` are the contract's own integers, as strings."""

    id: int
    user_address: str
    token_in: str
    token_out: str
    token_in_symbol: str | None
    token_out_symbol: str | None
    token_in_decimals: int | None
    token_out_decimals: int | None
    amount_in: str
    amount_in_raw: str
    target_price: str
    target_price_raw: str
    min_amount_out: str
    min_amount_out_raw: str
    order_type: str
    is_long: bool
    status: str
    created_at: str
    executed_at: str | None
    cancelled_at: str | None
    updated_at: str
    self_executable: bool
    tx_hash: str
    block_number: int
    executor_address: str | None
    amount_out: str | None
    amount_out_raw: str | None
    execution_tx_hash: str | None
    executed_via_router: bool | None = None
    """Whether the executor is the router at ROUTER_ADDRESS rather than a keeper who called the
    contract himself; null while not executed, or where no router is configured."""


class PositionView(msgspec.Struct, frozen=True):
    """A listed position; amounts in the token's decimals, ``pnl`` as the contract counts it."""

    id: int
    user_address: str
    token: str
    token_symbol: str | None
    token_decimals: int | None
    size: str
    size_raw: str
    collateral_amount: str
    collateral_amount_raw: str
    leverage: str
    position_type: str
    entry_price: str
    entry_price_raw: str
    status: str
    pnl: str | None
    pnl_raw: str | None
    liquidator: str | None
    opened_at: str
    closed_at: str | None
    tx_hash: str
    block_number: int
    closing_tx_hash: str | None


def order_view(order: Order, tokens: Tokens, router: str = "") -> OrderView:
    """Return an order as clients see it.

    Args:
        order: The order.
        tokens: Known tokens by address; one that is missing counts as having no decimals.
        router: Address of the router contract, lower-case; empty if there is none.
    """
    token_in, token_out = tokens.get(order.token_in), tokens.get(order.token_out)
    return OrderView(
        id=order.id,
        user_address=order.user,
        token_in=order.token_in,
        token_out=order.token_out,
        token_in_symbol=token_in.symbol if token_in else None,
        token_out_symbol=token_out.symbol if token_out else None,
        token_in_decimals=_told_decimals(token_in),
        token_out_decimals=_told_decimals(token_out),
        amount_in=_amount(order.amount_in, token_in),
        amount_in_raw=str(order.amount_in),
        target_price=scaled(order.target_price, PRICE_DECIMALS),
        target_price_raw=str(order.target_price),
        min_amount_out=_amount(order.min_amount_out, token_out),
        min_amount_out_raw=str(order.min_amount_out),
        order_type=ORDER_TYPES.get(order.order_type, f"TYPE_{order.order_type}"),
        is_long=order.is_long,
        status=order.status,
        created_at=iso(order.created_at_s),
        executed_at=_iso_or_none(order.executed_at_s),
        cancelled_at=_iso_or_none(order.cancelled_at_s),
        updated_at=iso(order.updated_at_s),
        self_executable=order.self_executable,
        tx_hash=order.tx_hash,
        block_number=order.block_number,
        executor_address=order.executor,
        amount_out=None if order.amount_out is None else _amount(order.amount_out, token_out),
        amount_out_raw=None if order.amount_out is None else str(order.amount_out),
        execution_tx_hash=order.execution_tx_hash,
        executed_via_router=order.executor == router if order.executor and router else None,
    )


def position_view(position: Position, tokens: Tokens) -> PositionView:
    """Return a position as clients see it; ``tokens`` as for `order_view`."""
    token = tokens.get(position.token)
    kind = position.position_type
    return PositionView(
        id=position.id,
        user_address=position.user,
        token=position.token,
        token_symbol=token.symbol if token else None,
        token_decimals=_told_decimals(token),
        size=_amount(position.size, token),
        size_raw=str(position.size),
        collateral_amount=_amount(position.collateral_amount, token),
        collateral_amount_raw=str(position.collateral_amount),
        leverage=str(position.leverage),
        position_type=POSITION_TYPES.get(kind, f"TYPE_{kind}"),
        entry_price=scaled(position.entry_price, PRICE_DECIMALS),
        entry_price_raw=str(position.entry_price),
        status=position.status,
        pnl=None if position.pnl is None else _amount(position.pnl, token),
        pnl_raw=None if position.pnl is None else str(position.pnl),
        liquidator=position.liquidator,
        opened_at=iso(position.opened_at_s),
        closed_at=_iso_or_none(position.closed_at_s),
        tx_hash=position.tx_hash,
        block_number=position.block_number,
        closing_tx_hash=position.closing_tx_hash,
    )


def event_data_view(data: Mapping[str, Any], order: Order | None, tokens: Tokens) -> dict[str, Any]:
    """Return an order event's data with scaled amounts, the integers beside as ``…_raw``.

    Args:
        data: Every field of the log; whole numbers as strings.
        order: The order, None for an orphan event, whose amounts stay unscaled.
        tokens: Known tokens by address.
    """
    token_in = tokens.get(order.token_in) if order else None
    token_out = tokens.get(order.token_out) if order else None
    scales = {
        "amount_in": _decimals(token_in),
        "amount_out": _decimals(token_out),
        "min_amount_out": _decimals(token_out),
        "target_price": PRICE_DECIMALS,
    }
    view: dict[str, Any] = {}
    for name, value in data.items():
        if name in scales:
            view[name] = scaled(int(value), scales[name])
            view[f"{name}_raw"] = value
        elif name == "order_type":
            view[name] = ORDER_TYPES.get(value, f"TYPE_{value}")
        else:
            view[name] = value
    return view


def iso(time_s: int) -> str:
    """Return a Unix time as ISO 8601 with an offset, UTC."""
    return datetime.fromtimestamp(time_s, UTC).isoformat()


def _iso_or_none(time_s: int | None) -> str | None:
    return None if time_s is None else iso(time_s)


def _decimals(token: Token | None) -> int:
    return token.decimals if token else 0


def _told_decimals(token: Token | None) -> int | None:
    return None if token is None or token.is_assumed else token.decimals


def _amount(raw: int, token: Token | None) -> str:
    return scaled(raw, _decimals(token))
