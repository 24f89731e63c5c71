# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A range of blocks, read and understood, ready to be committed; and its proofs. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from orders.chain.blocks import Header
from orders.chain.decode import ContractOrder, ContractPosition
from orders.chain.forms import RawLog
from orders.events import (
    DeadLetter,
    Event,
    OrderCreated,
    OrderModified,
    OrderTerms,
    PositionOpened,
    PositionTerms,
)
from orders.lifecycle import Order
from orders.rows import Token

MAX_ID = 2**63 - 1


class NewToken(msgspec.Struct, frozen=True):
    """A token and the block of the first event that names it."""

    token: Token
    first_block: int


class Batch(msgspec.Struct, frozen=True):
    """Everything that one transaction writes about a range of blocks.

    Attributes:
        parent_hash: Hash of the block before the first one.
        headers: Headers to remember, ascending; the last one is the range's last block.
        events: Events by block and log index, creations with their terms.
        dead_letters: Logs that cannot be understood.
        tokens: Tokens that were not known before the range was read.
        contract_orders: The contract's own state of every order the events touch, at the end of
            the last block; empty if the node does not have that state.
        next_order_id: The contract's counter at the end of the last block, None likewise.
        next_position_id: Likewise.
        logs: The logs as they came, for those that turn out to be indigestible.
        source: Name of the provider that gave them.
    """

    parent_hash: str
    headers: tuple[Header, ...]
    events: tuple[Event, ...]
    dead_letters: tuple[DeadLetter, ...]
    tokens: tuple[NewToken, ...]
    contract_orders: dict[int, ContractOrder]
    next_order_id: int | None
    next_position_id: int | None
    logs: tuple[RawLog, ...] = ()
    source: str = ""

    def dead_letter(self, event: Event, reason: str) -> DeadLetter:
        """Return the log of an event as a dead letter."""
        place = (event.block_number, event.log_index)
        found = next(x for x in self.logs if (x.number, x.index) == place)
        return DeadLetter(
            block_number=event.block_number,
            log_index=event.log_index,
            tx_hash=event.tx_hash,
            block_time_s=event.block_time_s,
            topics=found.topics,
            data=found.data,
            reason=reason,
        )

    @property
    def last(self) -> Header:
        """The range's last block."""
        return self.headers[-1]


def needs_own_block(events: Iterable[Event]) -> list[Event]:
    """Return the creations whose terms the range's last block no longer has.

    They are those of orders that were modified later in the range: their terms are read at the
    end of the block that created them, so that they do not depend on where ranges end.
    """
    created: dict[int, Event] = {}
    changed: dict[int, Event] = {}
    for event in events:
        if isinstance(event.change, OrderCreated):
            created.setdefault(event.id, event)
        elif isinstance(event.change, OrderModified):
            creation = created.get(event.id)
            if creation is not None and event.block_number > creation.block_number:
                changed[event.id] = creation
    return list(changed.values())


def with_terms(event: Event, order: ContractOrder | None) -> Event | None:
    """Return a creation with its terms, or None if the contract knows no such order.

    Args:
        event: A creation as its log tells it.
        order: The contract's own order of that id at the end of the creation's block or later.
    """
    change = event.change
    if not isinstance(change, OrderCreated) or order is None or order.id != event.id:
        return None
    told = (change.user, change.token_in, change.token_out, change.amount_in)
    if told != (order.user, order.token_in, order.token_out, order.amount_in):
        return None
    terms = OrderTerms(
        target_price=order.target_price,
        min_amount_out=order.min_amount_out,
        order_type=order.order_type,
        is_long=order.is_long,
        self_executable=order.self_executable,
    )
    return msgspec.structs.replace(event, change=msgspec.structs.replace(change, terms=terms))


def with_position_terms(event: Event, position: ContractPosition | None) -> Event | None:
    """Return an opening with its terms, or None if the contract knows no such position."""
    change = event.change
    if not isinstance(change, PositionOpened) or position is None or position.id != event.id:
        return None
    if (change.user, change.token) != (position.user, position.token):
        return None
    terms = PositionTerms(
        collateral_amount=position.collateral_amount,
        leverage=position.leverage,
        position_type=position.position_type,
        entry_price=position.entry_price,
    )
    return msgspec.structs.replace(event, change=msgspec.structs.replace(change, terms=terms))


def named_tokens(events: Iterable[Event]) -> dict[str, int]:
    """Return the block of the first event that names it, by token."""
    first: dict[str, int] = {}
    for event in events:
        change = event.change
        if isinstance(change, OrderCreated):
            first.setdefault(change.token_in, event.block_number)
            first.setdefault(change.token_out, event.block_number)
        elif isinstance(change, PositionOpened):
            first.setdefault(change.token, event.block_number)
    return first


def contradictions(
    orders: Mapping[int, Order], contract_orders: Mapping[int, ContractOrder]
) -> list[int]:
    """Return the ids whose folded state is not the contract's own: a log must be missing.

    Args:
        orders: Orders after the fold.
        contract_orders: The contract's own state at the same block.
    """
    wrong = []
    for order_id, order in orders.items():
        own = contract_orders.get(order_id)
        if own is None or own.id != order_id:
            continue
        if (
            own.executed == (order.status == "PENDING")
            or own.target_price != order.target_price
            or own.min_amount_out != order.min_amount_out
        ):
            wrong.append(order_id)
    return wrong
