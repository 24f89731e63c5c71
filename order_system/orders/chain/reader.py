# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Reads ranges of blocks from whichever provider can prove them, and understands them."""

import itertools
from collections.abc import Sequence

import structlog

from linkora.errors import CorruptMessage, TransientError
from orders.batch import (
    MAX_ID,
    Batch,
    NewToken,
    named_tokens,
    needs_own_block,
    with_position_terms,
    with_terms,
)
from orders.chain.blocks import ChainIdentity, Header, Tip
from orders.chain.client import ChainClient, LogRange
from orders.chain.decode import ContractOrder, ContractPosition, decode_log
from orders.chain.faults import StateUnavailable, Suspicious
from orders.chain.forms import RawLog, quantity
from orders.chain.pool import NodePool
from orders.events import DeadLetter, Event, OrderCreated, PositionOpened
from orders.rows import Token

log = structlog.get_logger(__name__)


class ChainReader:
    """The chain as the scanner sees it.

    Args:
        pool: The providers.
    """

    def __init__(self, pool: NodePool) -> None:
        self._pool = pool
        self.known_tokens: dict[str, Token] = {}

    def expect(self, identity: ChainIdentity | None) -> None:
        """Believe only providers of this chain from now on."""
        self._pool.expect(identity)

    def doubt(self) -> None:
        """Ask every provider again who it is."""
        self._pool.doubt()

    def distrust(self, name: str) -> None:
        """Let a provider rest whose answer has turned out incomplete."""
        self._pool.distrust(name)

    def troubles(self) -> dict[str, str]:
        """Return the last error of each provider that is not well."""
        return self._pool.troubles()

    async def identity(self) -> ChainIdentity:
        """Return what chain and contract the first provider that answers has."""
        return await self._pool.identity()

    async def tip(self) -> Tip:
        """Return the newest block."""
        return await self._pool.ask(ChainClient.tip)

    async def headers(self, numbers: Sequence[int]) -> dict[int, Header]:
        """Return headers by number, all from one provider."""
        return await self._pool.ask(lambda client: client.headers(numbers))

    async def orders(self, ids: Sequence[int], block: Header) -> dict[int, ContractOrder]:
        """Return the contract's own orders at the end of a block."""
        return await self._pool.ask(lambda client: client.orders(ids, block))

    async def positions(self, ids: Sequence[int], block: Header) -> dict[int, ContractPosition]:
        """Return the contract's own positions at the end of a block."""
        return await self._pool.ask(lambda client: client.positions(ids, block))

    async def next_ids(self, block: int) -> tuple[int, int]:
        """Return the contract's counters of orders and positions at the end of a block."""
        return await self._pool.ask(lambda client: client.next_ids(block))

    async def deployment_block(self, head: int) -> int:
        """Return the first block at whose end the contract was there, by bisection.

        Raises:
            StateUnavailable: If no provider has the state of old blocks.
        """
        low, high = 0, head
        while low < high:
            middle = (low + high) // 2
            if await self._pool.ask(lambda client, block=middle: client.has_code(block)):  # type: ignore[misc]
                high = middle
            else:
                low = middle + 1
        return low

    async def read_range(self, first: int, last: int, *, is_strict: bool) -> Batch:
        """Return everything that happened in blocks that are final.

        Raises:
            RangeTooLarge: If a provider wants fewer blocks at once.
            TransientError: If no provider can prove the range now.
        """

        async def work(client: ChainClient) -> Batch:
            found = await client.range_logs(first, last)
            return await self._understand(client, found, is_strict=is_strict)

        return await self._pool.ask(work)

    async def read_blocks(self, first: int, last: int, *, is_strict: bool) -> Batch:
        """Return everything that happened in blocks near the head, with each one's header.

        Raises:
            TransientError: If no provider can prove the blocks now.
        """

        async def work(client: ChainClient) -> Batch:
            headers = await client.headers(range(first, last + 1))
            if len(headers) != last + 1 - first:
                raise TransientError(f"{client.name}: does not have the blocks {first} to {last}")
            ordered = [headers[number] for number in sorted(headers)]
            for parent, child in itertools.pairwise(ordered):
                if child.parent_hash != parent.hash:
                    raise TransientError(f"{client.name}: block {child.number} has no parent")
            found = await client.block_logs(ordered, is_strict=is_strict)
            return await self._understand(client, found, is_strict=is_strict)

        return await self._pool.ask(work)

    async def understand(
        self, letter: DeadLetter, block: Header
    ) -> tuple[Event, tuple[NewToken, ...]] | None:
        """Return the event of a dead letter and its new tokens, None if it is still none.

        Args:
            letter: The log that was set aside.
            block: The checkpoint; an order's terms are read there if its own block is gone.
        """
        try:
            subject, change = decode_log(letter.topics, letter.data)
        except CorruptMessage:
            return None
        event = Event(
            id=subject,
            change=change,
            block_number=letter.block_number,
            log_index=letter.log_index,
            tx_hash=letter.tx_hash,
            block_time_s=letter.block_time_s,
        )
        whole = await self._with_terms(event, block)
        if whole is None:
            return None
        return whole, await self._pool.ask(lambda client: self._new_tokens(client, [whole]))

    async def _with_terms(self, event: Event, block: Header) -> Event | None:
        if not isinstance(event.change, OrderCreated | PositionOpened):
            return event
        if event.id > MAX_ID:
            return None
        at = (await self.headers([event.block_number])).get(event.block_number, block)
        if isinstance(event.change, PositionOpened):
            positions = await self._pool.ask(lambda client: client.positions([event.id], at))
            return with_position_terms(event, positions.get(event.id))
        return with_terms(event, (await self.orders([event.id], at)).get(event.id))

    async def _understand(self, client: ChainClient, found: LogRange, *, is_strict: bool) -> Batch:
        events, dead_letters = decode_logs(found)
        last = found.headers[-1]
        orders, positions, has_state = await self._contract_state(client, events, found)
        at_creation = await self._terms_at_creation(client, events, found) if has_state else {}
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
            tokens=await self._new_tokens(client, complete),
            contract_orders=orders if has_state else {},
            next_order_id=found.next_order_id,
            next_position_id=found.next_position_id,
            logs=found.logs,
            source=client.name,
        )

    async def _contract_state(
        self, client: ChainClient, events: Sequence[Event], found: LogRange
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
        self, client: ChainClient, events: Sequence[Event], found: LogRange
    ) -> dict[int, ContractOrder]:
        created = needs_own_block(events)
        if not created:
            return {}
        hashes = {quantity(entry.block_number): entry.block_hash for entry in found.logs}
        places = [
            (event.id, Header(event.block_number, hashes[event.block_number], "", 0))
            for event in created
        ]
        try:
            return await client.orders_at(places)
        except StateUnavailable:
            return {}  # the node has the range's last state and not its first: the terms of then

    async def _new_tokens(
        self, client: ChainClient, events: Sequence[Event]
    ) -> tuple[NewToken, ...]:
        first = named_tokens(events)
        unknown = sorted(first.keys() - self.known_tokens.keys())
        tokens = await client.tokens(unknown) if unknown else []
        return tuple(NewToken(token, first[token.address]) for token in tokens)


def decode_logs(found: LogRange) -> tuple[list[Event], list[DeadLetter]]:
    """Return the events of a range, and the logs that are none of ours although they look so."""
    events: list[Event] = []
    dead_letters: list[DeadLetter] = []
    for entry in found.logs:
        number = quantity(entry.block_number)
        time_s = found.times[number]
        try:
            subject, change = decode_log(entry.topics, entry.data)
            event = Event(
                id=subject,
                change=change,
                block_number=number,
                log_index=quantity(entry.log_index),
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
        block_number=quantity(entry.block_number),
        log_index=quantity(entry.log_index),
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
        if (quantity(entry.block_number), quantity(entry.log_index))
        == (event.block_number, event.log_index)
    )


def _length(found: LogRange) -> int:
    return found.headers[-1].number - found.headers[0].number + 1
