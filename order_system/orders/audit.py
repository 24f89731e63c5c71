# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Compares what is stored with the contract's own state, and replays what was set aside."""

from collections.abc import Callable

import structlog

from linkora.errors import TransientError
from orders.batch import contradictions
from orders.chain.blocks import Header
from orders.chain.faults import StateUnavailable
from orders.outcomes import Change, State
from orders.ports import Chain, Checkpoints, Limits, Orders

log = structlog.get_logger(__name__)

PAGE = 500
MAX_DEAD_LETTERS = 10_000


class Audit:
    """The slow proof: every open order must be open in the contract too, with the same values.

    Args:
        chain: The chain.
        checkpoints: Where the result is told.
        orders: The orders.
        limits: Settings.
        monotonic_s: A clock, seconds.
    """

    def __init__(
        self,
        chain: Chain,
        checkpoints: Checkpoints,
        orders: Orders,
        limits: Limits,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._chain = chain
        self._checkpoints = checkpoints
        self._orders = orders
        self._limits = limits
        self._monotonic_s = monotonic_s
        self._next_s = monotonic_s()
        self._given_up: set[int] = set()

    def is_due(self) -> bool:
        """Return whether it is time for the next comparison."""
        return self._monotonic_s() >= self._next_s

    async def suspect(self, state: State) -> int | None:
        """Compare every open order, and return the block from which logs must be missing.

        Returns:
            None if nothing contradicts, or nothing that reading again has not failed to mend: the
            contract says other things than its events then, which is told as discrepancies.

        Raises:
            TransientError: If the chain or the database is away, or has moved on meanwhile.
        """
        self._next_s = self._monotonic_s() + self._limits.audit_interval_s
        block = Header(state.last_block, state.last_hash, "", 0)
        wrong: dict[int, int] = {}
        after = 0
        while page := await self._orders.pending(after, PAGE):
            after = page[-1].id
            try:
                own = await self._chain.orders([order.id for order in page], block)
            except StateUnavailable:
                log.info("audit_left_out", reason="no provider has the state of the checkpoint")
                return None
            by_id = {order.id: order for order in page}
            wrong |= {i: by_id[i].block_number for i in contradictions(by_id, own)}
        now = await self._checkpoints.load()
        if now is None or now.last_hash != state.last_hash:
            raise TransientError("the checkpoint moved during the audit")
        await self._checkpoints.set_discrepancies(len(wrong.keys() & self._given_up))
        new = wrong.keys() - self._given_up
        self._given_up = set(wrong)
        return min(wrong[i] for i in new) if new else None

    async def replay_dead_letters(self, state: State) -> tuple[int, list[Change]]:
        """Apply the dead letters that are understood by now; return how many, and what changed."""
        block = Header(state.last_block, state.last_hash, "", 0)
        changes: list[Change] = []
        replayed = 0
        for letter_id, letter in await self._orders.dead_letters(MAX_DEAD_LETTERS):
            understood = await self._chain.understand(letter, block)
            if understood is not None:
                changes += await self._orders.apply_late(letter_id, *understood)
                replayed += 1
        return replayed, changes
