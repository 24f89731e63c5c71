# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The logs of one node, and the proofs that they must bring.

A range of blocks counts only if the same node shows, in the same request, the header of its last
block before and after the logs, unchanged; if every log lies in the range, comes from the contract,
is in no block twice and names the hashes that the headers have; and, where headers carry a Bloom
filter, if no block that must hold a log came without any.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from linkora.errors import TransientError
from orders.chain import forms
from orders.chain.blocks import Header
from orders.chain.bloom import may_hold
from orders.chain.decode import LOG_FORMS, NEXT_ORDER_ID, NEXT_POSITION_ID
from orders.chain.faults import NodeBehind, RangeTooLarge, Suspicious, Unsupported
from orders.chain.forms import Raw, RawLog
from orders.chain.many import BlockTag, ManyReader
from orders.chain.rpc import Call, RpcNode

TOPICS = tuple(LOG_FORMS)


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


class LogReader:
    """Reads the logs of one contract from one node.

    Args:
        node: Where to ask.
        contract: Address of the Trading contract, lower-case.
        many: Sends any number of calls to that node.
    """

    def __init__(self, node: RpcNode, contract: str, many: ManyReader) -> None:
        self._node = node
        self._contract = contract
        self._many = many
        self.name = node.name

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
                *self.next_ids(hex(last)),
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
        answers = await self._many.each([*calls, *self.next_ids(self._many.tag(headers[-1]))])
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

    def next_ids(self, tag: BlockTag) -> list[Call]:
        """Return the calls that ask for the contract's counters."""
        return [self._call(NEXT_ORDER_ID, tag), self._call(NEXT_POSITION_ID, tag)]

    async def _proven(
        self,
        headers: tuple[Header, ...],
        logs: list[RawLog],
        state: Sequence[Raw],
        first: int,
        last: int,
    ) -> LogRange:
        ordered = self._check(logs, {h.number: h.hash for h in headers}, first, last)
        times = {h.number: h.time_s for h in headers}  # what a header says comes before
        missing: dict[int, str] = {}
        for log in ordered:
            number = log.number
            if number in times:
                continue
            if (time_s := log.time_s) is None:
                missing[number] = log.block_hash
            else:
                times[number] = time_s
        times |= await self._times(missing)
        next_order_id, next_position_id = (forms.counter_or_none(answer) for answer in state)
        return LogRange(headers, tuple(ordered), times, next_order_id, next_position_id)

    def _check(
        self, logs: list[RawLog], hashes: dict[int, str], first: int, last: int
    ) -> list[RawLog]:
        """Return the logs in order, once each of them has its place in the range."""
        placed: dict[tuple[int, int], RawLog] = {}
        homes: dict[str, int] = {}
        for log in logs:
            number = log.number
            place = (number, log.index)
            if (
                not first <= number <= last
                or log.removed
                or place in placed
                or hashes.setdefault(number, log.block_hash) != log.block_hash
                or homes.setdefault(log.transaction_hash, number) != number
                or log.address != self._contract
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

    async def _times(self, hashes: dict[int, str]) -> dict[int, int]:
        calls: list[Call] = [("eth_getBlockByHash", [block, False]) for block in hashes.values()]
        headers = [forms.header(raw) for raw in await self._many.each(calls)]
        if {header.number: header.hash for header in headers} != hashes:
            raise TransientError(f"{self.name}: other blocks than were asked for")
        return {header.number: header.time_s for header in headers}

    def _call(self, data: str, tag: BlockTag) -> Call:
        return "eth_call", [{"to": self._contract, "data": data}, tag]

    def _filter(self, **bounds: str) -> dict[str, Any]:
        return {"address": self._contract, "topics": [list(TOPICS)], **bounds}
