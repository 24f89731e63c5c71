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
    with_position_terms,
    with_terms,
)
from orders.chain.blocks import ChainIdentity, Header, Tip
from orders.chain.client import ChainClient
from orders.chain.decode import ContractOrder, ContractPosition, decode_log
from orders.chain.faults import NodeBehind, StateUnavailable
from orders.chain.pool import NodePool
from orders.chain.understanding import new_tokens, understand
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
            return await understand(client, found, self.known_tokens, is_strict=is_strict)

        return await self._pool.ask(work)

    async def read_blocks(self, first: int, last: int, *, is_strict: bool) -> Batch:
        """Return everything that happened in blocks near the head, with each one's header.

        Raises:
            TransientError: If no provider can prove the blocks now.
        """

        async def work(client: ChainClient) -> Batch:
            headers = await client.headers(range(first, last + 1))
            if len(headers) != last + 1 - first:
                raise NodeBehind(f"{client.name}: does not have the blocks {first} to {last}")
            ordered = [headers[number] for number in sorted(headers)]
            for parent, child in itertools.pairwise(ordered):
                if child.parent_hash != parent.hash:
                    raise TransientError(f"{client.name}: block {child.number} has no parent")
            found = await client.block_logs(ordered, is_strict=is_strict)
            return await understand(client, found, self.known_tokens, is_strict=is_strict)

        return await self._pool.ask(work)

    async def understand(
        self, letter: DeadLetter, block: Header
    ) -> tuple[Event, tuple[NewToken, ...]] | None:
        """Return the event of a dead letter and its new tokens, None if it is still none.

        Args:
            letter: The log that was set aside.
            block: The checkpoint; an order's terms are read there if its own block or that one's
                state is gone.
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
        return whole, await self._pool.ask(
            lambda client: new_tokens(client, [whole], self.known_tokens)
        )

    async def _with_terms(self, event: Event, block: Header) -> Event | None:
        if not isinstance(event.change, OrderCreated | PositionOpened):
            return event
        if event.id > MAX_ID:
            return None
        at = (await self.headers([event.block_number])).get(event.block_number, block)
        try:
            return await self._with_terms_at(event, at)
        except StateUnavailable:
            return await self._with_terms_at(event, block)  # no archive: as a late scan has it

    async def _with_terms_at(self, event: Event, at: Header) -> Event | None:
        if isinstance(event.change, PositionOpened):
            positions = await self._pool.ask(lambda client: client.positions([event.id], at))
            return with_position_terms(event, positions.get(event.id))
        return with_terms(event, (await self.orders([event.id], at)).get(event.id))
