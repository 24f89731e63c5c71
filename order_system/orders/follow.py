# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The event processor's loop: lead, step, wait, and tell how it goes; it gives up for nothing."""

import asyncio
import contextlib
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from linkora.backoff import Backoff
from linkora.errors import TransientError
from linkora.health import Health
from orders.ports import Progress
from orders.scanner import Scanner
from orders.state_store import StateStore

log = structlog.get_logger(__name__)


class Gauges:
    """The event processor's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"linkora_orders_{name}", text, registry=registry)

        self.head = gauge("head_block", "Newest block of the chain")
        self.last = gauge("last_block", "Newest block that is stored")
        self.is_leading = gauge("is_leading", "1 while this processor is the one that writes")
        self.events = gauge("events", "Events committed since the start")
        self.reorgs = gauge("reorgs", "Reorgs rolled back since the start")
        self.deepest = gauge("deepest_reorg_blocks", "Deepest reorg since the start")
        self.retries = gauge("unproven_ranges", "Ranges that came without their proofs")
        self.dead_letters = gauge("dead_letters", "Logs set aside since the start")
        self.failures = Counter(
            "linkora_orders_failures", "Steps that failed for a passing reason", registry=registry
        )

    def show(self, progress: Progress) -> None:
        """Take over what the scanner knows of itself."""
        self.head.set(progress.head or 0)
        self.last.set(progress.last_block or 0)
        self.events.set(progress.events)
        self.reorgs.set(progress.reorgs)
        self.deepest.set(progress.deepest_reorg)
        self.retries.set(progress.retries)
        self.dead_letters.set(progress.dead_letters)


class Follower:
    """Steps the scanner for ever.

    Args:
        scanner: What is stepped.
        state: Who leads, and where failures are told.
        health: Told of the chain and the database.
        gauges: Metrics.
        poll_interval_s: Time between looks at the chain.
        wake: Set by whoever knows of a new block sooner.
    """

    def __init__(
        self,
        scanner: Scanner,
        state: StateStore,
        health: Health,
        gauges: Gauges,
        poll_interval_s: float,
        wake: asyncio.Event,
    ) -> None:
        self._scanner = scanner
        self._state = state
        self._health = health
        self._gauges = gauges
        self._poll_interval_s = poll_interval_s
        self._wake = wake
        health.fact("scan", self._facts)

    async def run(self) -> None:
        """Follow the chain for ever; the chain and the database may come and go."""
        backoff = Backoff()
        while True:
            try:
                self._gauges.is_leading.set(0)
                self._scanner.progress.detail = "another processor leads"
                async with self._state.leadership() as lead:
                    self._gauges.is_leading.set(1)
                    backoff.reset()
                    await self._lead(lead)
            except TransientError as error:
                self._note("database", error)
                await asyncio.sleep(backoff.next_delay_s())

    async def _lead(self, lead: Any) -> None:
        """Step until the lead is lost.

        Raises:
            TransientError: If the database is away.
        """
        backoff = Backoff(longest_s=5.0)
        self._scanner.take_over()
        while True:
            self._state.check_lead(lead)
            try:
                may_be_more = await self._scanner.step()
            except TransientError as error:
                self._note("chain", error)
                await self._tell(error)
                await asyncio.sleep(backoff.next_delay_s(error.retry_after_s))
                continue
            finally:
                self._gauges.show(self._scanner.progress)
            backoff.reset()
            self._say_well()
            if not may_be_more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_interval_s):
                        await self._wake.wait()
                self._wake.clear()

    async def _tell(self, error: TransientError) -> None:
        """Show the trouble in the database, which also finds out whether that is the trouble."""
        self._scanner.progress.status = "RECOVERY"
        self._scanner.progress.detail = str(error)
        await self._state.tell("RECOVERY", str(error)[:500], None, None)

    def _say_well(self) -> None:
        progress = self._scanner.progress
        self._health.up("database")
        if progress.status == "ERROR":
            self._health.down("chain", progress.detail)
        elif self._health.up("chain"):
            log.info("chain_followed", last_block=progress.last_block)

    def _note(self, component: str, error: TransientError) -> None:
        self._gauges.failures.inc()
        if self._health.down(component, str(error)):
            log.warning(f"{component}_away", reason=str(error)[:300])

    def _facts(self) -> dict[str, Any]:
        progress = self._scanner.progress
        return {
            "status": progress.status,
            "detail": progress.detail,
            "head_block": progress.head,
            "last_block": progress.last_block,
            "events": progress.events,
            "reorgs": progress.reorgs,
        }
