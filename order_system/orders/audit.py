# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Compares what is stored with the contract's own state, and replays what was set aside."""

from collections.abc import Callable

import structlog

from linkora.errors import RejectedError, TransientError
from orders.batch import contradictions
from orders.chain.blocks import Header
from orders.chain.faults import StateUnavailable
from orders.outcomes import Change, State
from orders.ports import Chain, Checkpoints, Limits, Orders

log = structlog.get_logger(__name__)

PAGE = 500
MAX_DEAD_LETTERS = 10_000
Thing = tuple[str, int]
"""Kind and id of what is compared."""


class Audit:
    """The slow proof: what is stored must be what the contract itself says.

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
        self._given_up: set[Thing] = set()
        self._suspected: set[Thing] = set()

    def forget(self) -> None:
        """Know of no contradiction, after a reset: ids mean other orders now."""
        self._given_up, self._suspected = set(), set()

    def reads_again(self) -> None:
        """Note that what the last comparison suspected is read again: once, not for ever."""
        self._given_up = self._suspected

    def is_due(self) -> bool:
        """Return whether it is time for the next comparison."""
        return self._monotonic_s() >= self._next_s

    async def suspect(self, state: State, doubted: set[int]) -> int | None:
        """Compare orders and positions with the contract; return from where logs must be missing.

        Compared are the open ones, orders that changed within the chain's last day, and those
        that are doubted. Call ``reads_again`` once that is undone: until then it is told again.

        Returns:
            None if nothing contradicts, or nothing that reading again has not failed to mend: the
            contract says other things than its events then, which is told as discrepancies.

        Raises:
            TransientError: If the chain or the database is away, or has moved on meanwhile.
        """
        self._next_s = self._monotonic_s() + self._limits.audit_interval_s
        block = Header(state.last_block, state.last_hash, "", 0)
        try:
            wrong = await self._wrong_orders(block, doubted)
            wrong |= await self._wrong_positions(block)
            wrong |= await self._missing_positions(state)
        except StateUnavailable:
            log.info("audit_left_out", reason="no provider has the state of the checkpoint")
            return None
        now = await self._checkpoints.load()
        if now is None or now.last_hash != state.last_hash:
            raise TransientError("the checkpoint moved during the audit")
        await self._checkpoints.set_discrepancies(len(wrong.keys() & self._given_up))
        new = wrong.keys() - self._given_up
        if not new:
            self._given_up = set(wrong)
            return None
        self._suspected = set(wrong)
        return min(wrong[thing] for thing in new)

    async def _wrong_orders(self, block: Header, doubted: set[int]) -> dict[Thing, int]:
        wrong: dict[Thing, int] = {}
        after = 0
        while page := await self._orders.to_audit(after, PAGE, doubted):
            after = page[-1].id
            by_id = {order.id: order for order in page}
            own = await self._chain.orders(list(by_id), block)
            wrong |= {("order", i): by_id[i].block_number for i in contradictions(by_id, own)}
        return wrong

    async def _wrong_positions(self, block: Header) -> dict[Thing, int]:
        wrong: dict[Thing, int] = {}
        after = 0
        while page := await self._orders.open_positions(after, PAGE):
            after = page[-1].id
            own = await self._chain.positions([position.id for position in page], block)
            for position in page:
                found = own.get(position.id)
                if found is not None and found.id == position.id and not found.is_open:
                    wrong["position", position.id] = position.block_number
        return wrong

    async def _missing_positions(self, state: State) -> dict[Thing, int]:
        if state.first_position_id is None:
            return {}
        _, following = await self._chain.next_ids(state.last_block)
        block = await self._orders.before_missing_position(state.first_position_id, following - 1)
        return {} if block is None else {("positions", 0): block}

    async def replay_dead_letters(
        self, state: State, publish: Callable[[list[Change]], None]
    ) -> int:
        """Apply the dead letters that are understood by now, and return how many.

        Args:
            state: The checkpoint.
            publish: Told what each of them has changed, after its commit; must not wait.

        Raises:
            TransientError: If the chain or the database is away; the rest are dead letters still.
        """
        block = Header(state.last_block, state.last_hash, "", 0)
        replayed = 0
        for letter_id, letter in await self._orders.dead_letters(MAX_DEAD_LETTERS):
            understood = await self._chain.understand(letter, block)
            if understood is None:
                continue
            try:
                changes = await self._orders.apply_late(letter_id, *understood)
            except RejectedError as error:
                log.warning("dead_letter_refused", id=letter_id, reason=str(error)[:300])
                continue
            publish(changes)
            replayed += 1
        return replayed
