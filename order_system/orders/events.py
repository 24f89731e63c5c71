# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the Trading contract says happened, as values.

Amounts are whole numbers in their token's smallest unit, prices whole numbers scaled by 10**18,
addresses and hashes lower-case 0x-hex. Times are the block's, Unix seconds.
"""

from typing import TypeAlias

import msgspec


class OrderTerms(msgspec.Struct, frozen=True, gc=False):
    """What a creation log leaves out: the order in the contract at the end of that block.

    An order that is modified in the block of its creation has its modified terms here: the
    contract keeps no others.
    """

    target_price: int
    min_amount_out: int
    order_type: int
    is_long: bool
    self_executable: bool


class OrderCreated(msgspec.Struct, frozen=True, gc=False):
    """``OrderCreated``; ``terms`` come from the contract's state."""

    user: str
    token_in: str
    token_out: str
    amount_in: int
    terms: OrderTerms | None = None


class OrderModified(msgspec.Struct, frozen=True, gc=False):
    """``OrderModified``: the values that hold from here on."""

    target_price: int
    min_amount_out: int


class OrderExecuted(msgspec.Struct, frozen=True, gc=False):
    """``OrderExecuted``; ``executor`` may be a router or a free argument of the caller."""

    executor: str
    amount_out: int


class OrderCancelled(msgspec.Struct, frozen=True, gc=False):
    """``OrderCancelled``; ``user`` is an argument of the caller, no proof of who cancelled."""

    user: str


class PositionTerms(msgspec.Struct, frozen=True, gc=False):
    """What an opening log leaves out: the position in the contract at the end of that block."""

    collateral_amount: int
    leverage: int
    position_type: int
    entry_price: int


class PositionOpened(msgspec.Struct, frozen=True, gc=False):
    """``PositionOpened``; ``terms`` come from the contract's state."""

    user: str
    token: str
    size: int
    terms: PositionTerms | None = None


class PositionClosed(msgspec.Struct, frozen=True, gc=False):
    """``PositionClosed``; ``pnl`` is signed."""

    user: str
    pnl: int


class PositionLiquidated(msgspec.Struct, frozen=True, gc=False):
    """``PositionLiquidated``; ``pnl`` is signed."""

    user: str
    liquidator: str
    pnl: int


OrderChange: TypeAlias = OrderCreated | OrderModified | OrderExecuted | OrderCancelled
PositionChange: TypeAlias = PositionOpened | PositionClosed | PositionLiquidated

EVENT_TYPES: dict[type[OrderChange | PositionChange], str] = {
    OrderCreated: "CREATED",
    OrderModified: "MODIFIED",
    OrderExecuted: "EXECUTED",
    OrderCancelled: "CANCELLED",
    PositionOpened: "OPENED",
    PositionClosed: "CLOSED",
    PositionLiquidated: "LIQUIDATED",
}


class Event(msgspec.Struct, frozen=True, gc=False):
    """One log of the contract: what changed for which order or position, and where.

    ``(block_number, log_index)`` orders events; times do not, as blocks may share a second.
    """

    id: int
    change: OrderChange | PositionChange
    block_number: int
    log_index: int
    tx_hash: str
    block_time_s: int

    @property
    def is_order(self) -> bool:
        """True for an order's event, False for a position's."""
        return isinstance(self.change, OrderChange)


class DeadLetter(msgspec.Struct, frozen=True):
    """A log that cannot be applied, kept as it came, with the reason."""

    block_number: int
    log_index: int
    tx_hash: str
    block_time_s: int
    topics: tuple[str, ...]
    data: str
    reason: str
