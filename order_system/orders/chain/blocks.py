# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Blocks and identities as values."""

import msgspec


class Header(msgspec.Struct, frozen=True, gc=False):
    """A block's header. Hashes are 0x-hex; ``time_s`` is Unix seconds.

    Attributes:
        logs_bloom: 256 bytes as 0x-hex, or "" where it is not known.
    """

    number: int
    hash: str
    parent_hash: str
    time_s: int
    logs_bloom: str = ""


class Tip(msgspec.Struct, frozen=True):
    """The newest block, and the number of the newest final one where the node tells it.

    Attributes:
        source: Name of the provider that says so.
    """

    head: Header
    finalized: int | None
    source: str = ""


class ChainIdentity(msgspec.Struct, frozen=True):
    """What tells one chain and contract from another.

    Attributes:
        chain_id: As in EIP-155.
        genesis_hash: Hash of block 0.
        code_hash: SHA-256 of the contract's code, 0x-hex: a restarted development chain may
            have the same genesis and another contract at the same address.
    """

    chain_id: int
    genesis_hash: str
    code_hash: str

    def differences(self, found: "ChainIdentity | None") -> str:
        """Return what ``found`` has otherwise than this one, for people; None has no contract."""
        if found is None:
            return "there is no contract at TRADING_ADDRESS"
        named = (
            ("chain id", self.chain_id, found.chain_id),
            ("genesis", self.genesis_hash, found.genesis_hash),
            ("code of the contract", self.code_hash, found.code_hash),
        )
        return "; ".join(
            f"the {name} is {theirs}, stored is {ours}"
            for name, ours, theirs in named
            if ours != theirs
        )


LOCAL_CHAIN_IDS = frozenset({1337, 31337})


def is_local(chain_id: int) -> bool:
    """Return whether the chain is a developer's own (Ganache, Anvil, Hardhat)."""
    return chain_id in LOCAL_CHAIN_IDS
