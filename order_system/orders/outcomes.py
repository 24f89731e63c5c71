# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the event processor's stores give back, and how they say no. Pure."""

from typing import Literal

import msgspec

from linkora.errors import LinkoraError
from orders.chain.blocks import ChainIdentity
from orders.lifecycle import Order

Status = Literal["ACTIVE", "RECOVERY", "ERROR", "RESET"]


class State(msgspec.Struct, frozen=True):
    """The checkpoint, and what an operator or the scanner last wrote beside it.

    Attributes:
        status: What stands there now.
        is_command: True if an operator has written ``status``.
        identity: The chain and contract that the tables are about.
        contract: The contract's address.
        start_block: The first block that was scanned.
        last_block: Everything up to here is in the tables, and nothing beyond.
        last_hash: That block's hash.
        finalized_block: Nothing up to here is ever rolled back.
        first_order_id: The id of the first order that was created from ``start_block`` on; None
            if no provider had that state.
        first_position_id: Likewise for positions.
    """

    status: Status
    is_command: bool
    identity: ChainIdentity
    contract: str
    start_block: int
    last_block: int
    last_hash: str
    finalized_block: int
    first_order_id: int | None
    first_position_id: int | None


class CheckpointMoved(LinkoraError):  # noqa: N818 - a finding
    """The stored checkpoint is not the block that the range follows: read the state again."""


class Contradiction(LinkoraError):  # noqa: N818 - a finding
    """The events do not lead to the contract's own state: a log must be missing.

    Args:
        ids: The orders of which that is so.
    """

    def __init__(self, ids: list[int]) -> None:
        super().__init__(f"the contract has other values for orders {ids[:10]}")
        self.ids = ids


class Incomplete(LinkoraError):  # noqa: N818 - a finding
    """Ids that the contract has counted up are not among the orders.

    Args:
        missing: The first of them.
    """

    def __init__(self, missing: list[int]) -> None:
        super().__init__(f"orders without a creation: {missing[:10]}")
        self.missing = missing


class Change(msgspec.Struct, frozen=True):
    """An order as committed, or as it was before a reorg took its creation away.

    Without an order: any number of them may be other ones now, and is not told one by one.
    """

    order: Order | None
    is_removed: bool = False


UPHEAVAL = Change(None)
"""After a reset, and where another processor may have left its commits untold."""
