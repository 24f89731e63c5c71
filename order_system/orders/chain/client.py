# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The questions that are put to one node, and the proofs that its answers must bring.

A range of blocks counts only if the same node shows, in the same request, the header of its last
block before and after the logs, unchanged; if every log lies in the range, comes from the contract,
is in no block twice and names the hashes that the headers have; and, where headers carry a Bloom
filter, if no block that must hold a log came without any.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from linkora.errors import CorruptMessage, RejectedError, TransientError
from orders.chain import forms
from orders.chain.blocks import ChainIdentity, Header, Tip
from orders.chain.bloom import may_hold
from orders.chain.decode import (
    DECIMALS,
    GET_ORDER,
    GET_POSITION,
    LOG_FORMS,
    NEXT_ORDER_ID,
    NEXT_POSITION_ID,
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
    RangeTooLarge,
    StateUnavailable,
    Suspicious,
    Unsupported,
)
from orders.chain.forms import Raw, RawLog, quantity
from orders.chain.many import BlockTag, ManyReader
from orders.chain.rpc import Call, RpcNode
from orders.rows import Token

T = TypeVar("T")
TOPICS = tuple(LOG_FORMS)
ORDER_WORDS, POSITION_WORDS = 12, 10


class LogRange(msgspec.Struct, frozen=True):
    """The logs of a range that has brought its proofs.

    Attributes:
        headers: The headers that were read, ascending: all of the range near the head, else the
            first and the last.
        logs: The logs by block and index.
        times: Block time in seconds by block number, for every block that has a log.
        next_order_id: As of the last block; None if the node has no state of that block.
        next_position_id: Likewise.
    """

    headers: tuple[Header, ...]
    logs: tuple[RawLog, ...]
    times: dict[int, int]
    next_order_id: int | None
    next_position_id: int | None


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
        digits = forms.text(code)
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
            return Tip(forms.header(head), None)
        final = forms.header_or_none(finalized)
        return Tip(forms.header(head), final.number if final else None)

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
        """Return the logs of blocks that are final, with headers of the first and last one.

        Raises:
            RangeTooLarge: If the provider does not give so much at once.
            TransientError: If a proof is missing; another try or node may bring it.
        """
        bounds = {"fromBlock": hex(first), "toBlock": hex(last)}
        block: list[Any] = [hex(last), False]
        before, head, logs, *state, after = await self._node.calls(
            [
                ("eth_getBlockByNumber", block),
                ("eth_getBlockByNumber", [hex(first), False]),
                ("eth_getLogs", [self._filter(**bounds)]),
                *self._next_ids(hex(last)),
                ("eth_getBlockByNumber", block),
            ]
        )
        ends = (forms.header(head), forms.header(before))
        if ends[1] != forms.header(after):
            raise TransientError(f"{self.name}: block {last} was replaced while it was read")
        if (ends[0].number, ends[1].number) != (first, last):
            raise NodeBehind(f"{self.name}: does not have the blocks {first} to {last}")
        headers = ends if first < last else ends[1:]
        found = await self._logs(logs, bounds)
        return await self._proven(headers, found, state, first, last)

    async def block_logs(self, headers: Sequence[Header], *, is_strict: bool) -> LogRange:
        """Return the logs of blocks near the head, asked for by their hashes.

        Args:
            headers: Headers in ascending order, without gaps.
            is_strict: Whether a block whose Bloom filter promises a log may come without one.

        Raises:
            NodeBehind: If the node does not know one of the hashes (any more).
            Suspicious: If a log seems to be missing.
            TransientError: If a proof is missing.
        """
        first, last = headers[0].number, headers[-1].number
        calls: list[Call] = [
            ("eth_getLogs", [self._filter(blockHash=header.hash)]) for header in headers
        ]
        answers = await self._many.each([*calls, *self._next_ids(self._many.tag(headers[-1]))])
        if self._many.names_blocks_by_hash and any(
            isinstance(a, Unsupported) for a in answers[-2:]
        ):
            self._many.names_blocks_by_hash = False  # EIP-1898 is unknown here: name them by number
            return await self.block_logs(headers, is_strict=is_strict)
        found: list[RawLog] = []
        for header, answer in zip(headers, answers, strict=False):
            logs = await self._logs(answer, {"blockHash": header.hash})
            if any(log.block_hash != header.hash for log in logs):
                raise TransientError(f"{self.name}: logs of another block than {header.hash}")
            if is_strict and not logs and may_hold(header.logs_bloom, self._contract, TOPICS):
                raise Suspicious(f"{self.name}: block {header.number} came without its logs")
            found += logs
        return await self._proven(tuple(headers), found, answers[len(headers) :], first, last)

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
        answers = [forms.text_or_none(raw) or "" for raw in await self._many.each(calls)]
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
        return forms.text(code) != "0x"

    async def next_ids(self, block: int) -> tuple[int, int]:
        """Return the contract's ``nextOrderId`` and ``nextPositionId`` at a block's end.

        Raises:
            StateUnavailable: If the node has no state of that block.
        """
        answers = await self._many.each(self._next_ids(hex(block)))
        orders, positions = (forms.counter_or_none(answer) for answer in answers)
        if orders is None:
            raise StateUnavailable(f"{self.name}: no state of block {block}")
        return orders, positions or 1

    async def _proven(
        self,
        headers: tuple[Header, ...],
        logs: list[RawLog],
        state: Sequence[Raw],
        first: int,
        last: int,
    ) -> LogRange:
        ordered = self._check(logs, {h.number: h.hash for h in headers}, first, last)
        times = {h.number: h.time_s for h in headers}
        times |= {
            quantity(log.block_number): quantity(log.block_timestamp)
            for log in ordered
            if log.block_timestamp
        }
        missing = {log.block_hash for log in ordered if quantity(log.block_number) not in times}
        times |= await self._times(sorted(missing))
        next_order_id, next_position_id = (forms.counter_or_none(answer) for answer in state)
        return LogRange(headers, tuple(ordered), times, next_order_id, next_position_id)

    def _check(
        self, logs: list[RawLog], hashes: dict[int, str], first: int, last: int
    ) -> list[RawLog]:
        """Return the logs in order, once each of them has its place in the range."""
        placed: dict[tuple[int, int], RawLog] = {}
        for log in logs:
            number = quantity(log.block_number)
            place = (number, quantity(log.log_index))
            known = hashes.setdefault(number, log.block_hash)
            if (
                not first <= number <= last
                or log.removed
                or place in placed
                or known != log.block_hash
                or log.address.lower() != self._contract
                or not log.topics
                or log.topics[0] not in LOG_FORMS
            ):
                raise TransientError(f"{self.name}: a log that was not asked for, at {place}")
            placed[place] = log
        return [placed[place] for place in sorted(placed)]

    async def _logs(self, raw: Raw, bounds: dict[str, str]) -> list[RawLog]:
        """Return the logs of one block or range; what is too large comes one event at a time.

        Raises:
            RangeTooLarge: If a range of several blocks is too large.
            TransientError: If one event of one block is.
        """
        is_one_block = bounds.get("fromBlock") == bounds.get("toBlock")
        if not isinstance(raw, RangeTooLarge) or not is_one_block:
            return forms.logs(raw)
        filters = [self._filter(**bounds) | {"topics": [topic]} for topic in TOPICS]
        answers = await self._many.each([("eth_getLogs", [wanted]) for wanted in filters])
        try:
            return [log for answer in answers for log in forms.logs(answer)]
        except RangeTooLarge as error:
            raise TransientError(f"{self.name}: one block is too large for it: {error}") from error

    async def _times(self, hashes: Sequence[str]) -> dict[int, int]:
        calls: list[Call] = [("eth_getBlockByHash", [block, False]) for block in hashes]
        headers = [forms.header(raw) for raw in await self._many.each(calls)]
        return {header.number: header.time_s for header in headers}

    def _call(self, data: str, tag: BlockTag) -> Call:
        return "eth_call", [{"to": self._contract, "data": data}, tag]

    def _next_ids(self, tag: BlockTag) -> list[Call]:
        return [self._call(NEXT_ORDER_ID, tag), self._call(NEXT_POSITION_ID, tag)]

    def _filter(self, **bounds: str) -> dict[str, Any]:
        return {"address": self._contract, "topics": [list(TOPICS)], **bounds}


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
