# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Follows the chain: from the deployment to the head, then block by block, through every reorg.

One step looks at the chain's head, lets `orders.chain.reorg` judge it, and does what the verdict
says. Final blocks are read in ranges; those of the window, which may still be replaced, header by
header. What an operator writes into `system_state.status` comes before everything else.
"""

from collections.abc import Callable

import structlog

from linkora.errors import RejectedError, TransientError
from orders.audit import Audit
from orders.beginning import begin
from orders.chain.blocks import ChainIdentity, Tip, is_local
from orders.chain.faults import ForeignChain, NoContract, NodeBehind, RangeTooLarge
from orders.chain.reorg import Extend, Hold, Rollback, Sight, Verdict, Wait, judge
from orders.finality import finalized, lower_head_polls, target
from orders.ingest import Ingest
from orders.outcomes import UPHEAVAL, Change, CheckpointMoved, State, Status
from orders.ports import Chain, Checkpoints, Limits, Orders, Progress

log = structlog.get_logger(__name__)


class Scanner:
    """One follower of one contract.

    Args:
        chain: The chain.
        checkpoints: Where the state is.
        orders: Where the orders go.
        limits: Settings.
        publish: Told what each commit has changed, after it; must not wait.
        monotonic_s: A clock for the time between audits, seconds.
    """

    def __init__(
        self,
        chain: Chain,
        checkpoints: Checkpoints,
        orders: Orders,
        limits: Limits,
        publish: Callable[[list[Change]], None],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._chain = chain
        self._checkpoints = checkpoints
        self._orders = orders
        self._limits = limits
        self._publish = publish
        self.progress = Progress()
        self._ingest = Ingest(chain, orders, limits, self.progress, publish)
        self._audit = Audit(chain, checkpoints, orders, limits, monotonic_s)
        self._lower_polls = 0
        self._identity: ChainIdentity | None = None

    def take_over(self) -> None:
        """Lead from here on: whoever led before may have died between a commit and its news."""
        self._publish([UPHEAVAL])

    async def step(self) -> bool:
        """Look at the chain once and do what there is to do; return whether there may be more.

        Raises:
            TransientError: If the chain or the database is away, or no provider gives what is
                needed; nothing is lost.
        """
        try:
            return await self._step()
        except (RangeTooLarge, RejectedError) as error:
            # Nobody could do with less, or the database refuses what the chain gave. Another
            # provider, or the same one later, may give something better.
            raise TransientError(f"no provider gives it: {error}") from error

    async def _step(self) -> bool:
        state = await self._checkpoints.load()
        if state is None:
            try:
                await begin(self._chain, self._checkpoints, self._limits)
            except ForeignChain as error:
                raise TransientError(f"the chain changed while its beginning was sought: {error}",
                                     None) from error  # fmt: skip
            return True
        if state.is_command and state.status == "RESET":
            await self._reset("an operator asked for it")
            return True
        if state.contract != self._limits.contract:
            return await self._hold(
                f"the tables are about contract {state.contract}, TRADING_ADDRESS is "
                f"{self._limits.contract}: use another database, or RESET",
                None,
            )
        if (state.identity, state.last_hash) != (self._identity, self._ingest.last_hash):
            await self._adopt(state)  # the checkpoint is not where this processor left it
        try:
            return await self._follow(state)
        except ForeignChain as error:
            return await self._meet_foreign_chain(state, str(error))

    async def _follow(self, state: State) -> bool:
        is_recovery = state.is_command and state.status == "RECOVERY"
        tip = await self._chain.tip()
        self.progress.head = tip.head.number
        self.progress.last_block = state.last_block
        verdict = await self._judge(state, tip, may_unmake_final=is_recovery)
        if not isinstance(verdict, Extend):
            return await self._turn(state, verdict, tip)
        self._lower_polls = 0
        if is_recovery:
            await self._recover(state)
            return True
        is_local_chain = is_local(state.identity.chain_id)
        newest = target(tip, self._limits, is_local_chain=is_local_chain)
        if newest <= state.last_block:
            await self._tell("ACTIVE", "", tip)
            return await self._audit_when_due(state)
        await self._catch_up(state, newest, tip)
        await self._tell("ACTIVE", "", tip)
        return True

    async def _adopt(self, state: State) -> None:
        self._chain.expect(state.identity)
        self._chain.known_tokens = await self._checkpoints.known_tokens()
        self._ingest.forget_holes()
        self._identity, self._ingest.last_hash = state.identity, state.last_hash

    async def _judge(self, state: State, tip: Tip, *, may_unmake_final: bool) -> Verdict:
        stored = await self._checkpoints.window()
        stored[state.last_block] = state.last_hash
        is_lower = tip.head.number < state.last_block
        self._lower_polls = self._lower_polls + 1 if is_lower else 0
        remote = {} if is_lower else await self._hashes([state.last_block])
        if remote.get(state.last_block) != state.last_hash:
            self._chain.doubt()  # before anything is undone: is it still the same chain?
            remote = await self._hashes([n for n in sorted(stored) if n <= tip.head.number])
        sight = Sight(tip.head.number, stored, remote, self._lower_polls)
        floor = state.start_block - 1
        if not may_unmake_final:
            floor = max(floor, state.finalized_block)
        return judge(
            sight,
            floor,
            lower_head_polls(self._limits, is_local_chain=is_local(state.identity.chain_id)),
        )

    async def _hashes(self, numbers: list[int]) -> dict[int, str]:
        return {n: header.hash for n, header in (await self._chain.headers(numbers)).items()}

    async def _turn(self, state: State, verdict: Rollback | Wait | Hold, tip: Tip) -> bool:
        if isinstance(verdict, Wait):
            if verdict.lacks_blocks:
                self._chain.distrust(tip.source)
            await self._tell("RECOVERY", verdict.reason, tip)
            return False
        if isinstance(verdict, Hold):
            return await self._hold(
                f"{verdict.reason}; RECOVERY takes the chain as it is now, RESET scans anew", tip
            )
        self._lower_polls = 0
        if not await self._roll_back(state, verdict.to):
            return True
        self.progress.reorgs += 1
        depth = state.last_block - verdict.to
        self.progress.deepest_reorg = max(self.progress.deepest_reorg, depth)
        log.warning("reorg_rolled_back", fork_block=verdict.to, depth=depth)
        return True

    async def _roll_back(self, state: State, to: int) -> bool:
        """Undo what came after block ``to``; False if another processor was quicker.

        What is remembered of the tables is looked up anew by the next step.
        """
        header = (await self._chain.headers([to])).get(to)
        if header is None:
            raise TransientError("the chain changed again while the fork was looked for")
        try:
            changes = await self._orders.rollback(header, state.last_hash)
        except CheckpointMoved:
            return False
        self._publish(changes)
        self._ingest.last_hash = ""
        return True

    async def _catch_up(self, state: State, target: int, tip: Tip) -> None:
        near = max(state.last_block, target - self._limits.window_blocks)
        try:
            if near > state.last_block:
                await self._tell("RECOVERY", f"catching up to block {target}", tip)
                await self._ingest.read_final(state.last_block + 1, near)
            await self._ingest.read_tip(near + 1, target)
        except CheckpointMoved:
            log.info("checkpoint_moved")
        except NodeBehind:
            self._chain.distrust(tip.source)  # perhaps there are no such blocks at all
            raise

    async def _recover(self, state: State) -> None:
        """Do what an operator's RECOVERY asks for: replay what was set aside, and compare all.

        The command is obeyed once that is done: what fails on the way, or ends the process,
        leaves it standing, and all of it is done again, which does no harm. What follows a
        repair is the ordinary way up to the head.
        """
        log.warning("recovery_begun", reason="an operator asked for it")
        self._ingest.forget_holes()
        replayed = await self._audit.replay_dead_letters(state, self._publish)
        log.info("dead_letters_replayed", count=replayed)
        await self._repair(state, self._ingest.doubted)
        await self._checkpoints.obey("RECOVERY", "an operator asked for a recovery")

    async def _audit_when_due(self, state: State) -> bool:
        if not self._audit.is_due() and not self._ingest.doubted:
            return False
        return await self._repair(state, self._ingest.doubted)

    async def _repair(self, state: State, doubted: set[int]) -> bool:
        """Undo everything from the first contradiction on, so that it is read again.

        Returns:
            Whether there was something to undo.

        Raises:
            TransientError: If it could not be done now: nothing counts as looked at then.
        """
        asked = set(doubted)
        block = await self._audit.suspect(state, asked)
        if block is not None:
            log.error("logs_missing", from_block=block)
            if not await self._roll_back(state, max(block - 1, state.start_block - 1)):
                raise TransientError("another processor moved the checkpoint before the repair")
            self._audit.reads_again()
        doubted -= asked
        return block is not None

    async def _meet_foreign_chain(self, state: State, reason: str) -> bool:
        may_reset = self._limits.resets_restarted_chain and is_local(state.identity.chain_id)
        if may_reset and await self._is_local_chain():
            await self._reset("the local chain was started anew")
            return True
        return await self._hold(f"foreign chain: {reason}", None)

    async def _is_local_chain(self) -> bool:
        try:
            return is_local((await self._chain.identity()).chain_id)
        except NoContract:
            return False  # it is being started: the contract comes next

    async def _reset(self, reason: str) -> None:
        log.warning("scan_reset", reason=reason)
        await self._orders.reset()
        self._publish([UPHEAVAL])
        self._identity = None
        self._audit.forget()
        self._lower_polls = 0
        self._ingest.forget_holes()
        self._ingest.doubted.clear()
        self._chain.known_tokens = {}
        self._chain.expect(None)

    async def _hold(self, reason: str, tip: Tip | None) -> bool:
        if self.progress.detail != reason:
            log.error("scan_held", reason=reason)
        await self._tell("ERROR", reason, tip)
        return False

    async def _tell(self, status: Status, detail: str, tip: Tip | None) -> None:
        self.progress.status = status
        self.progress.detail = detail
        head = tip.head.number if tip else None
        final = None
        if tip and status == "ACTIVE":
            is_local_chain = self._identity is not None and is_local(self._identity.chain_id)
            final = finalized(tip, self._limits, is_local_chain=is_local_chain)
        await self._checkpoints.tell(status, detail, head, final)
