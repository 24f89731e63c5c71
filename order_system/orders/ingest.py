# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Reads ranges of blocks and commits them in order, once they have brought their proofs."""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from linkora.backoff import Backoff
from linkora.errors import RejectedError, TransientError
from orders.batch import Batch
from orders.chain.faults import RangeTooLarge, Suspicious
from orders.outcomes import Change, Contradiction, Incomplete
from orders.ports import Chain, Limits, Orders, Progress
from orders.ranges import RangeSizer

log = structlog.get_logger(__name__)

STRICT_TRIES = 3
"""Readings of a range, by turns from all providers, before what looks like a missing log is taken
for the contract's own doing. Orders that are missing altogether are never taken for that."""


class Ingest:
    """The way of a range from the chain into the database.

    Args:
        chain: The chain.
        orders: Where the orders go.
        limits: Settings.
        progress: Counters to keep.
        publish: Told what each commit has changed, after it; must not wait.
    """

    def __init__(
        self,
        chain: Chain,
        orders: Orders,
        limits: Limits,
        progress: Progress,
        publish: Callable[[list[Change]], None],
    ) -> None:
        self._chain = chain
        self._orders = orders
        self._limits = limits
        self._progress = progress
        self._publish = publish
        self._sizer = RangeSizer(
            limits.range_blocks, limits.range_blocks_max, limits.range_logs_target
        )
        self._holes: set[int] = set()
        self.doubted: set[int] = set()
        """Orders whose contradiction was taken as it came; the audit looks at them again."""
        self.last_hash = ""
        """Hash of the checkpoint as this processor left it; empty if that is not known."""

    def forget_holes(self) -> None:
        """Look anew which ids have no order, after a rollback or reset."""
        self._holes = set()

    async def read_final(self, first: int, target: int) -> None:
        """Read and commit final blocks: ranges in parallel, commits in order.

        No more ranges are under way or waiting for their turn than there are workers.

        Raises:
            CheckpointMoved: If the range does not follow the stored checkpoint.
            TransientError: If the chain or the database is away.
        """
        under_way: deque[tuple[int, int, asyncio.Task[Batch]]] = deque()
        try:
            while first <= target or under_way:
                while first <= target and len(under_way) < self._limits.fetch_workers:
                    last = min(target, first + self._sizer.blocks - 1)
                    reading = asyncio.create_task(self._read_range(first, last))
                    under_way.append((first, last, reading))
                    first = last + 1
                begin, end, reading = under_way.popleft()
                try:
                    batch = await reading
                except RangeTooLarge as error:
                    await self._read_smaller(begin, end, error)
                else:
                    self._sizer.took(end - begin + 1, len(batch.logs))
                    await self._commit(batch, begin, is_final=True)
        finally:
            for _, _, task in under_way:
                task.cancel()
            await asyncio.gather(*(task for _, _, task in under_way), return_exceptions=True)

    async def read_tip(self, first: int, target: int) -> None:
        """Read and commit blocks that may still be replaced, each with its header.

        Raises:
            CheckpointMoved: If they do not follow the stored checkpoint.
            RangeTooLarge: If one block is too much for the provider.
            TransientError: If the chain or the database is away.
        """
        size = self._limits.tip_batch_blocks
        while first <= target:
            end = min(target, first + size - 1)
            try:
                batch = await self._read(first, end, is_final=False)
            except RangeTooLarge as error:
                if first == end:
                    raise
                size = (end - first + 1) // 2
                log.info("range_made_smaller", blocks=size, reason=str(error)[:200])
                continue
            await self._commit(batch, first, is_final=False)
            first = end + 1

    async def _read_range(self, first: int, last: int) -> Batch:
        return await self._read(first, last, is_final=True)

    async def _read_smaller(self, first: int, last: int, error: RangeTooLarge) -> None:
        """Read a range that was too large in pieces that fit."""
        if first == last:
            raise TransientError(f"block {first} is too large for the provider: {error}")
        size = self._sizer.refused(last - first + 1, error.blocks)
        log.info("range_made_smaller", blocks=size, reason=str(error)[:200])
        while first <= last:
            end = min(last, first + size - 1)
            try:
                batch = await self._read(first, end, is_final=True)
            except RangeTooLarge as again:
                await self._read_smaller(first, end, again)
            else:
                await self._commit(batch, first, is_final=True)
            first = end + 1

    async def _read(
        self, first: int, last: int, *, is_final: bool, is_strict: bool = True
    ) -> Batch:
        """Read a range; what seems to lack a log is read again before it is taken as it comes."""
        read = self._chain.read_range if is_final else self._chain.read_blocks
        backoff = Backoff(first_s=0.05, longest_s=1.0)
        for _ in range(STRICT_TRIES if is_strict else 0):
            try:
                return await read(first, last, is_strict=True)
            except Suspicious as error:
                self._progress.retries += 1
                log.warning("range_not_proven", first=first, last=last, reason=str(error))
                await asyncio.sleep(backoff.next_delay_s())
        return await read(first, last, is_strict=False)

    async def _commit(self, batch: Batch, first: int, *, is_final: bool) -> None:
        last = batch.last.number
        for tries_left in reversed(range(STRICT_TRIES)):
            try:
                changes = await self._write(batch, is_strict=tries_left > 0)
            except (Contradiction, Incomplete) as error:
                self._progress.retries += 1
                log.warning("range_not_proven", first=first, last=last, reason=str(error))
                if isinstance(error, Contradiction) and tries_left == 1:
                    self.doubted.update(error.ids)
                if isinstance(error, Incomplete) and await self._explain(error, batch):
                    continue
                self._chain.distrust(batch.source)
                batch = await self._read(first, last, is_final=is_final, is_strict=tries_left > 1)
            except RejectedError as error:
                log.error("database_refused_range", first=first, last=last, reason=str(error))
                self._chain.distrust(batch.source)
                batch = await self._read(first, last, is_final=is_final)
            else:
                self._progress.events += len(batch.events)
                self._progress.dead_letters += len(batch.dead_letters)
                self._progress.last_block = last
                self.last_hash = batch.last.hash
                self._chain.known_tokens |= {new.token.address: new.token for new in batch.tokens}
                self._publish(changes)
                return
        raise TransientError(f"no provider gives all logs of the blocks {first} to {last}")

    async def _write(self, batch: Batch, *, is_strict: bool) -> list[Change]:
        holes = len(self._holes)
        try:
            return await self._orders.commit(batch, is_strict=is_strict, holes=holes)
        except RejectedError as error:
            log.error("database_refused_events", error=str(error))
            return await self._orders.commit(batch, is_strict=False, holes=holes, is_cautious=True)

    async def _explain(self, error: Incomplete, batch: Batch) -> bool:
        """Return whether missing ids were found that the contract, too, has no order for."""
        unknown = [i for i in error.missing if i not in self._holes]
        own = await self._chain.orders(unknown, batch.last)
        holes = {i for i in unknown if (order := own.get(i)) is None or order.id != i}
        holes |= await self._orders.dead_creations() & set(unknown)
        self._holes |= holes
        return bool(holes)
