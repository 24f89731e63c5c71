# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The compiled contracts, and how their functions are called."""

import functools
from pathlib import Path
from typing import Any

import msgspec
from eth_abi.abi import encode
from eth_utils.crypto import keccak

ARTIFACTS = Path(__file__).resolve().parent.parent / "artifacts"


class Artifact(msgspec.Struct, frozen=True):
    """One compiled contract; ``bytecode`` is what a deployment sends, without arguments."""

    contract: str
    abi: list[dict[str, Any]]
    bytecode: str

    def deployment(self, *arguments: Any) -> str:
        """Return the data of the transaction that deploys the contract, as 0x-hex."""
        types = [i["type"] for e in self.abi if e["type"] == "constructor" for i in e["inputs"]]
        return self.bytecode + encode(types, arguments).hex()

    def calldata(self, function: str, *arguments: Any) -> str:
        """Return selector and arguments of a call, as 0x-hex.

        Raises:
            KeyError: If the contract has no such function.
        """
        types = _input_types(self.contract, function)
        signature = f"{function}({','.join(types)})"
        return "0x" + keccak(text=signature)[:4].hex() + encode(types, arguments).hex()


@functools.cache
def load_artifact(contract: str) -> Artifact:
    """Return ``artifacts/<contract>.json``.

    Raises:
        FileNotFoundError: If no such contract was compiled.
    """
    return msgspec.json.decode((ARTIFACTS / f"{contract}.json").read_bytes(), type=Artifact)


@functools.cache
def _input_types(contract: str, function: str) -> list[str]:
    for entry in load_artifact(contract).abi:
        if entry["type"] == "function" and entry["name"] == function:
            return [i["type"] for i in entry["inputs"]]
    raise KeyError(function)
