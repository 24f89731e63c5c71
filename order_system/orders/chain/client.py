# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The questions that are put to one node about one contract."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from linkora.errors import CorruptMessage, RejectedError
from orders.chain import forms
from orders.chain.blocks import ChainIdentity, Header, Tip
from orders.chain.decode import (
    DECIMALS,
    GET_ORDER,
    GET_POSITION,
    SYMBOL,
    ContractOrder,
    ContractPosition,
    decode_decimals,
    decode_order,
    decode_position,
    decode_symbol,
)
from orders.chain.faults import (
    NodeBehind,
    StateUnavailable,
)
from orders.chain.forms import quantity
from orders.chain.logs import LogRange, LogReader
from orders.chain.many import ManyReader
from orders.chain.rpc import Call, RpcNode
from orders.rows import Token

T = TypeVar("T")
ORDER_WORDS, POSITION_WORDS = 12, 10


class ChainClient:
    """Questions to one node about one contract.

    Args:
        node: Where to ask.
        contract: Address of the Trading contract, lower-case.
        batch_calls: Calls in one HTTP request.
    """

    def __init__(self, node: RpcNode, contract: str, batch_calls: int) -> None:
        self._node = node
        self._contract = contract
        self._many = ManyReader(node, contract, batch_calls)
        self._logs = LogReader(node, contract, self._many)

    @property
    def name(self) -> str:
        """The node's name for logs, without keys."""
        return self._node.name

    async def identity(self) -> ChainIdentity | None:
        """Return what chain and contract this is; None if no contract is there (yet)."""
        chain_id, genesis, code = await self._node.calls(
            [
                ("eth_chainId", []),
                ("eth_getBlockByNumber", ["0x0", False]),
                ("eth_getCode", [self._contract, "latest"]),
            ]
        )
        digits = forms.digits(code)
        if digits == "0x":
            return None
        return ChainIdentity(
            chain_id=quantity(forms.text(chain_id)),
            genesis_hash=forms.header(genesis).hash,
            code_hash="0x" + hashlib.sha256(bytes.fromhex(digits[2:])).hexdigest(),
        )

    async def tip(self) -> Tip:
        """Return the newest block and, where the node knows the tag, the newest final one."""
        head, finalized = await self._node.calls(
            [
                ("eth_getBlockByNumber", ["latest", False]),
                ("eth_getBlockByNumber", ["finalized", False]),
            ]
        )
        if isinstance(finalized, RejectedError | NodeBehind):  # a tag that not every node knows
            return Tip(forms.header(head), None, self.name)
        final = forms.header_or_none(finalized)
        return Tip(forms.header(head), final.number if final else None, self.name)

    async def headers(self, numbers: Sequence[int]) -> dict[int, Header]:
        """Return the headers by number; those that the node does not have are missing."""
        calls: list[Call] = [("eth_getBlockByNumber", [hex(n), False]) for n in numbers]
        found = {}
        for number, raw in zip(numbers, await self._many.each(calls), strict=True):
            if isinstance(raw, NodeBehind):
                continue
            header = forms.header_or_none(raw)
            if header is not None and header.number == number:
                found[number] = header
        return found

    async def range_logs(self, first: int, last: int) -> LogRange:
        """Return the logs of blocks that are final; see `LogReader.range_logs`."""
        return await self._logs.range_logs(first, last)

    async def block_logs(self, headers: Sequence[Header], *, is_strict: bool) -> LogRange:
        """Return the logs of blocks near the head; see `LogReader.block_logs`."""
        return await self._logs.block_logs(headers, is_strict=is_strict)

    async def orders(self, ids: Sequence[int], block: Header) -> dict[int, ContractOrder]:
        """Return the contract's own orders at the end of ``block``, by id.

        An id whose answer is not as the ABI says is missing.

        Raises:
            StateUnavailable: If the node has no state of that block.
        """
        places = [(i, block) for i in ids]
        return _decoded(ids, await self._many.read(GET_ORDER, ORDER_WORDS, places), decode_order)

    async def orders_at(self, places: Sequence[tuple[int, Header]]) -> dict[int, ContractOrder]:
        """Return the contract's own orders, each at the end of a block of its own."""
        answers = await self._many.read(GET_ORDER, ORDER_WORDS, places)
        return _decoded([i for i, _ in places], answers, decode_order)

    async def positions(self, ids: Sequence[int], block: Header) -> dict[int, ContractPosition]:
        """Return the contract's own positions at the end of ``block``, by id."""
        places = [(i, block) for i in ids]
        answers = await self._many.read(GET_POSITION, POSITION_WORDS, places)
        return _decoded(ids, answers, decode_position)

    async def tokens(self, addresses: Sequence[str]) -> list[Token]:
        """Return what the tokens say of themselves; a refusal is an answer too."""
        calls: list[Call] = [
            ("eth_call", [{"to": address, "data": selector}, "latest"])
            for address in addresses
            for selector in (DECIMALS, SYMBOL)
        ]
        answers = [forms.digits_or_none(raw) or "" for raw in await self._many.each(calls)]
        tokens = []
        for address, decimals, symbol in zip(addresses, answers[::2], answers[1::2], strict=True):
            told = decode_decimals(decimals)
            tokens.append(Token(address, decode_symbol(symbol), told or 0, told is None))
        return tokens

    async def has_code(self, block: int) -> bool:
        """Return whether the contract was there at the end of block number ``block``.

        Raises:
            StateUnavailable: If the node has no state of that block.
        """
        (code,) = await self._node.calls([("eth_getCode", [self._contract, hex(block)])])
        return forms.digits(code) != "0x"

    async def next_ids(self, block: int) -> tuple[int, int]:
        """Return the contract's ``nextOrderId`` and ``nextPositionId`` at a block's end.

        Raises:
            StateUnavailable: If the node has no state of that block.
        """
        answers = await self._many.each(self._logs.next_ids(hex(block)))
        orders, positions = (forms.counter_or_none(answer) for answer in answers)
        if orders is None:
            raise StateUnavailable(f"{self.name}: no state of block {block}")
        return orders, positions or 1


def _decoded(
    ids: Sequence[int], answers: Sequence[str], decode: Callable[[str], T]
) -> dict[int, T]:
    found = {}
    for number, answer in zip(ids, answers, strict=True):
        try:
            found[number] = decode(answer)
        except CorruptMessage:
            continue
    return found
