# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The tables' columns as values of `orders.lifecycle`, and back. Pure.

Numbers beyond 64 bits travel as text: asyncpg's Decimal costs many times more.
"""

from typing import Any, Protocol

import msgspec

from orders.lifecycle import Order, Position

ORDER_COLUMNS = """
    order_id, user_address, token_in, token_out, amount_in::text, target_price::text,
    min_amount_out::text, order_type, is_long, self_executable, status, block_number, log_index,
    tx_hash, extract(epoch from created_at)::bigint AS created_at_s,
    extract(epoch from updated_at)::bigint AS updated_at_s,
    extract(epoch from executed_at)::bigint AS executed_at_s,
    extract(epoch from cancelled_at)::bigint AS cancelled_at_s,
    executor_address, amount_out::text, execution_tx_hash, execution_block
"""
POSITION_COLUMNS = """
    position_id, user_address, token, size::text, collateral_amount::text, leverage::text,
    position_type, entry_price::text, status, block_number, log_index, tx_hash,
    extract(epoch from opened_at)::bigint AS opened_at_s,
    extract(epoch from closed_at)::bigint AS closed_at_s,
    pnl::text, liquidator, closing_tx_hash, closing_block
"""


class Row(Protocol):
    """A row of the database: its columns by name."""

    def __getitem__(self, name: str, /) -> Any:
        """Return the column's value."""


ETH = "0x" + "00" * 20


class Token(msgspec.Struct, frozen=True, gc=False):
    """A token: ``is_assumed`` if its contract did not say its decimals."""

    address: str
    symbol: str | None
    decimals: int
    is_assumed: bool


class OrderPage(msgspec.Struct, frozen=True):
    """A page of orders.

    Attributes:
        orders: Those of the page.
        total: How many there are in all.
        has_more: Whether any come after these.
        tokens: The tokens that they name, by address.
    """

    orders: list[Order]
    total: int
    has_more: bool
    tokens: dict[str, Token]


class OrderEvent(msgspec.Struct, frozen=True):
    """One event of an order; ``data`` has whole numbers as strings."""

    event_type: str
    old_status: str | None
    new_status: str | None
    tx_hash: str
    block_number: int
    log_index: int
    time_s: int
    data: dict[str, Any]


def to_hex(value: bytes) -> str:
    """Return bytes as 0x-hex."""
    return "0x" + value.hex()


def to_bytes(value: str) -> bytes:
    """Return the bytes of 0x-hex."""
    return bytes.fromhex(value[2:])


def _hex_or_none(value: bytes | None) -> str | None:
    return None if value is None else to_hex(value)


def _int_or_none(value: str | None) -> int | None:
    return None if value is None else int(value)


def order_of(row: Row) -> Order:
    """Return the order of a row of ``ORDER_COLUMNS``."""
    return Order(
        id=row["order_id"],
        user=to_hex(row["user_address"]),
        token_in=to_hex(row["token_in"]),
        token_out=to_hex(row["token_out"]),
        amount_in=int(row["amount_in"]),
        target_price=int(row["target_price"]),
        min_amount_out=int(row["min_amount_out"]),
        order_type=row["order_type"],
        is_long=row["is_long"],
        self_executable=row["self_executable"],
        status=row["status"],
        block_number=row["block_number"],
        log_index=row["log_index"],
        tx_hash=to_hex(row["tx_hash"]),
        created_at_s=row["created_at_s"],
        updated_at_s=row["updated_at_s"],
        executed_at_s=row["executed_at_s"],
        cancelled_at_s=row["cancelled_at_s"],
        executor=_hex_or_none(row["executor_address"]),
        amount_out=_int_or_none(row["amount_out"]),
        execution_tx_hash=_hex_or_none(row["execution_tx_hash"]),
        execution_block=row["execution_block"],
    )


def position_of(row: Row) -> Position:
    """Return the position of a row of ``POSITION_COLUMNS``."""
    return Position(
        id=row["position_id"],
        user=to_hex(row["user_address"]),
        token=to_hex(row["token"]),
        size=int(row["size"]),
        collateral_amount=int(row["collateral_amount"]),
        leverage=int(row["leverage"]),
        position_type=row["position_type"],
        entry_price=int(row["entry_price"]),
        status=row["status"],
        block_number=row["block_number"],
        log_index=row["log_index"],
        tx_hash=to_hex(row["tx_hash"]),
        opened_at_s=row["opened_at_s"],
        closed_at_s=row["closed_at_s"],
        pnl=_int_or_none(row["pnl"]),
        liquidator=_hex_or_none(row["liquidator"]),
        closing_tx_hash=_hex_or_none(row["closing_tx_hash"]),
        closing_block=row["closing_block"],
    )


def token_of(row: Row) -> Token:
    """Return the token of a row of the table ``tokens``."""
    return Token(to_hex(row["address"]), row["symbol"], row["decimals"], row["is_assumed"])
