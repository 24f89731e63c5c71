# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A long chain on a real Anvil: empty blocks put between the mined ones of its state file.

Anvil takes longer for each block the more it has mined (1.7.1 here: 0.6 s for the first thousand,
6 s for the fifth), which makes 100,000 a matter of hours; loading them takes seconds. The headers
are hashed anew, so that every block names its parent; Anvil itself computes the same hashes as it
loads them. The state of old blocks is gone, as on most public nodes.
"""

import json
from pathlib import Path
from typing import Any

import rlp
from eth_utils.crypto import keccak

Json = dict[str, Any]
HASHED = (
    "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot",
    "logsBloom", "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData",
    "mixHash", "nonce", "baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas",
    "parentBeaconBlockRoot", "requestsHash",
)  # fmt: skip
"""The fields of a header in the order of its hash, as of the Prague fork (EIP-7685)."""
QUANTITIES = {
    "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed",
    "excessBlobGas",
}  # fmt: skip


def header_hash(header: Json) -> str:
    """Return a header's hash as 0x-hex."""
    return "0x" + keccak(rlp.encode([_field(header, name) for name in HASHED])).hex()


def _field(header: Json, name: str) -> bytes:
    if name not in QUANTITIES:
        return bytes.fromhex(header[name][2:])
    number = int(header[name], 16)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def stretch_file(path: Path, gap: int, tail: int) -> None:
    """Do as `stretch` with the file that Anvil's ``--state`` has written."""
    path.write_text(json.dumps(stretch(json.loads(path.read_bytes()), gap, tail)))


def stretch(state: Json, gap: int, tail: int) -> Json:
    """Return Anvil's state with ``gap`` empty blocks before each but the first two blocks.

    Args:
        state: What Anvil's ``--state`` file holds.
        gap: Empty blocks before each mined one.
        tail: Empty blocks after the last one.
    """
    blocks = sorted(state["blocks"], key=lambda block: int(block["header"]["number"], 16))
    made = blocks[:1]
    places: dict[int, tuple[int, str]] = {}
    parent = header_hash(blocks[0]["header"])

    def add(block: Json, header: Json) -> None:
        nonlocal parent
        linked = header | {"parentHash": parent, "number": hex(len(made))}
        made.append(block | {"header": linked})
        parent = header_hash(linked)

    def add_empty(count: int) -> None:
        before = made[-1]["header"]
        empty = {name: before[name] for name in ("timestamp", "stateRoot", "baseFeePerGas")}
        for _ in range(count):
            add(made[0], made[0]["header"] | empty)

    for number, block in enumerate(blocks[1:], 1):
        add_empty(gap if number > 1 else 0)
        add(block, block["header"])
        places[number] = (len(made) - 1, parent)
    add_empty(tail)
    for transaction in state["transactions"]:
        place = places[transaction["block_number"]]
        transaction["block_number"], transaction["block_hash"] = place
    head = made[-1]["header"]
    return state | {
        "blocks": made,
        "best_block_number": len(made) - 1,
        "block": state["block"] | {"number": head["number"], "timestamp": head["timestamp"]},
    }
