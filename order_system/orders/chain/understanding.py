# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the logs of a range mean: events with all their terms, and those that are none of ours."""

from collections.abc import Collection, Sequence

from linkora.errors import CorruptMessage
from orders.batch import (
    MAX_ID,
    Batch,
    NewToken,
    named_tokens,
    needs_own_block,
    with_position_terms,
    with_terms,
)
from orders.chain.blocks import Header
from orders.chain.client import ChainClient
from orders.chain.decode import ContractOrder, ContractPosition, decode_log
from orders.chain.faults import StateUnavailable, Suspicious
from orders.chain.forms import RawLog
from orders.chain.logs import LogRange
from orders.events import DeadLetter, Event, OrderCreated, PositionOpened


async def understand(
    client: ChainClient, found: LogRange, known: Collection[str], *, is_strict: bool
) -> Batch:
    """Return what the logs of a range mean, with what the contract's state adds to them.

    Args:
        client: The node that gave the logs.
        found: The logs with their proofs.
        known: Addresses of the tokens that are known already.
        is_strict: Whether a creation that the contract does not know is refused.

    Raises:
        Suspicious: If it is.
        TransientError: If the node is away.
    """
    events, dead_letters = decode_logs(found)
    last = found.headers[-1]
    orders, positions, has_state = await _contract_state(client, events, found)
    at_creation = await _terms_at_creation(client, events, found) if has_state else {}
    complete: list[Event] = []
    for event in events:
        whole: Event | None = event
        if isinstance(event.change, OrderCreated):
            whole = with_terms(event, at_creation.get(event.id) or orders.get(event.id))
        elif isinstance(event.change, PositionOpened):
            whole = with_position_terms(event, positions.get(event.id))
        if whole is not None:
            complete.append(whole)
        elif is_strict:
            raise Suspicious(f"{client.name}: does not know {event.id} that was created")
        else:
            reason = "the contract has no such order or position"
            dead_letters.append(_dead(_log_at(found, event), event.block_time_s, reason))
    return Batch(
        parent_hash=found.headers[0].parent_hash,
        headers=found.headers if len(found.headers) == _length(found) else (last,),
        events=tuple(complete),
        dead_letters=tuple(dead_letters),
        tokens=await new_tokens(client, complete, known),
        contract_orders=orders if has_state else {},
        next_order_id=found.next_order_id,
        next_position_id=found.next_position_id,
        logs=found.logs,
        source=client.name,
    )


async def _contract_state(
    client: ChainClient, events: Sequence[Event], found: LogRange
) -> tuple[dict[int, ContractOrder], dict[int, ContractPosition], bool]:
    order_ids = sorted({e.id for e in events if e.is_order})
    position_ids = sorted({e.id for e in events if isinstance(e.change, PositionOpened)})
    block = found.headers[-1]
    try:
        orders = await client.orders(order_ids, block)
        return orders, await client.positions(position_ids, block), True
    except StateUnavailable:
        # No archive node: the newest state has everything but an order's first terms, and
        # those are overwritten by the modifications that are still to come.
        newest = (await client.tip()).head
        orders = await client.orders(order_ids, newest)
        return orders, await client.positions(position_ids, newest), False


async def _terms_at_creation(
    client: ChainClient, events: Sequence[Event], found: LogRange
) -> dict[int, ContractOrder]:
    created = needs_own_block(events)
    if not created:
        return {}
    hashes = {entry.number: entry.block_hash for entry in found.logs}
    places = [
        (event.id, Header(event.block_number, hashes[event.block_number], "", 0))
        for event in created
    ]
    try:
        return await client.orders_at(places)
    except StateUnavailable:
        return {}  # the node has the range's last state and not its first: the terms of then


async def new_tokens(
    client: ChainClient, events: Sequence[Event], known: Collection[str]
) -> tuple[NewToken, ...]:
    """Return what the tokens say of themselves that events name and nobody knows yet."""
    first = named_tokens(events)
    unknown = sorted(first.keys() - set(known))
    tokens = await client.tokens(unknown) if unknown else []
    return tuple(NewToken(token, first[token.address]) for token in tokens)


def decode_logs(found: LogRange) -> tuple[list[Event], list[DeadLetter]]:
    """Return the events of a range, and the logs that are none of ours although they look so."""
    events: list[Event] = []
    dead_letters: list[DeadLetter] = []
    for entry in found.logs:
        number = entry.number
        time_s = found.times[number]
        try:
            subject, change = decode_log(entry.topics, entry.data)
            event = Event(
                id=subject,
                change=change,
                block_number=number,
                log_index=entry.index,
                tx_hash=entry.transaction_hash,
                block_time_s=time_s,
            )
        except CorruptMessage as error:
            dead_letters.append(_dead(entry, time_s, str(error)))
            continue
        if subject > MAX_ID and isinstance(change, OrderCreated | PositionOpened):
            dead_letters.append(_dead(entry, time_s, "the id is no number that is counted up to"))
            continue
        events.append(event)
    return events, dead_letters


def _dead(entry: RawLog, time_s: int, reason: str) -> DeadLetter:
    return DeadLetter(
        block_number=entry.number,
        log_index=entry.index,
        tx_hash=entry.transaction_hash,
        block_time_s=time_s,
        topics=entry.topics,
        data=entry.data,
        reason=reason,
    )


def _log_at(found: LogRange, event: Event) -> RawLog:
    return next(
        entry
        for entry in found.logs
        if (entry.number, entry.index) == (event.block_number, event.log_index)
    )


def _length(found: LogRange) -> int:
    return found.headers[-1].number - found.headers[0].number + 1
