# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Many structs of the contract in few calls.

One `eth_call` whose state override puts a small loop (`abi/Reader.sol`) at an unused address reads
hundreds of structs, several times faster than as many calls in a batch, and many times where a node
loads the state of an old block for each call. Nodes that do not know overrides get the batch.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from linkora.errors import CorruptMessage, RejectedError
from orders.chain import forms
from orders.chain.blocks import Header
from orders.chain.decode import WORD, encode_call
from orders.chain.faults import CallReverted, StateUnavailable, Unsupported
from orders.chain.rpc import Call, RpcNode

log = structlog.get_logger(__name__)

READER_ADDRESS = "0x" + "52" * 20
READER_CODE: str = json.loads(
    (Path(__file__).resolve().parent.parent / "abi" / "Reader.json").read_text()
)["deployedBytecode"]
IDS_PER_CALL = 500
"""About 24,000 gas an order: far below the 50 million that nodes allow a call by default."""

BlockTag = str | dict[str, Any]
Place = tuple[int, Header]
"""An id, and the block at whose end its struct is wanted."""


class ManyReader:
    """Reads structs of one contract from one node.

    Args:
        node: Where to ask.
        contract: The contract's address.
        batch_calls: Calls in one HTTP request, where each id needs one.
    """

    def __init__(self, node: RpcNode, contract: str, batch_calls: int) -> None:
        self._node = node
        self._contract = contract
        self._batch_calls = batch_calls
        self.names_blocks_by_hash = True
        self.overrides_state = True

    def tag(self, block: Header) -> BlockTag:
        """Return how a block is named to this node: by hash (EIP-1898), else by number."""
        return {"blockHash": block.hash} if self.names_blocks_by_hash else hex(block.number)

    async def read(self, selector: str, words: int, places: Sequence[Place]) -> list[str]:
        """Return the answers of a getter, as 0x-hex; an empty or zero one where it fails.

        Args:
            selector: The getter's, with one uint256 argument.
            words: Words of its answer.
            places: Which ids, at which blocks; those of one block stand together.

        Raises:
            StateUnavailable: If the node has no state of a block.
            TransientError: If it cannot be reached.
        """
        if not places:
            return []
        try:
            if self.overrides_state:
                return await self._read_together(selector, words, places)
            return await self._read_singly(selector, places)
        except StateUnavailable:
            raise
        except (RejectedError, CorruptMessage) as error:
            if (
                isinstance(error, Unsupported)
                and self.names_blocks_by_hash
                and not (self.overrides_state)
            ):
                self.names_blocks_by_hash = False
            elif self.overrides_state:
                self.overrides_state = False
            else:
                raise
            log.info("node_is_simpler", node=self._node.name, reason=str(error)[:200])
            return await self.read(selector, words, places)

    async def _read_together(self, selector: str, words: int, places: Sequence[Place]) -> list[str]:
        head = self._contract[2:].rjust(WORD, "0") + selector[2:].ljust(WORD, "0")
        head += f"{words:0{WORD}x}"
        override = {READER_ADDRESS: {"code": READER_CODE}}
        calls: list[Call] = []
        sizes = []
        for _, group in itertools.groupby(places, key=lambda place: place[1].hash):
            whole = list(group)
            for start in range(0, len(whole), IDS_PER_CALL):
                part = whole[start : start + IDS_PER_CALL]
                data = "0x" + head + "".join(f"{number:0{WORD}x}" for number, _ in part)
                call = {"to": READER_ADDRESS, "data": data}
                calls.append(("eth_call", [call, self.tag(part[0][1]), override]))
                sizes.append(len(part))
        answers: list[str] = []
        for raw, size in zip(await self.each(calls), sizes, strict=True):
            answers += _split(forms.digits(raw), words, size)
        return answers

    async def _read_singly(self, selector: str, places: Sequence[Place]) -> list[str]:
        calls: list[Call] = [
            (
                "eth_call",
                [{"to": self._contract, "data": encode_call(selector, i)}, self.tag(block)],
            )
            for i, block in places
        ]
        answers = await self.each(calls)
        return ["" if isinstance(raw, CallReverted) else forms.digits(raw) for raw in answers]

    async def each(self, calls: Sequence[Call]) -> list[forms.Raw]:
        """Return the answers of any number of calls, in requests of a bounded size."""
        answers: list[forms.Raw] = []
        for start in range(0, len(calls), self._batch_calls):
            answers += await self._node.calls(calls[start : start + self._batch_calls])
        return answers


def _split(answer: str, words: int, count: int) -> list[str]:
    size = words * WORD
    body = answer[2:]
    if len(body) != size * count:
        raise CorruptMessage(f"{len(body) // 2} bytes instead of {size * count // 2}")
    return ["0x" + body[start : start + size] for start in range(0, size * count, size)]
