# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Several providers of one chain: the first that is well answers, the others stand by.

Each is asked who it is before it is believed, and again after it was away: a provider of another
chain, or a development node that was started anew, must not write into the same tables.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from linkora.backoff import Backoff
from linkora.errors import CorruptMessage, LinkoraError, RejectedError, TransientError
from orders.chain.blocks import ChainIdentity
from orders.chain.client import ChainClient
from orders.chain.faults import (
    ForeignChain,
    NoContract,
    NodeBehind,
    RangeTooLarge,
    RateLimited,
    StateUnavailable,
    Suspicious,
)
from orders.chain.gate import Gate

T = TypeVar("T")
log = structlog.get_logger(__name__)

FOREIGN_RETRY_S = 5.0
DISTRUST_S = 30.0
ROUNDS = 4
"""Times that every provider is asked before the question fails."""
LONGEST_WAIT_S = 2.0


class Seat:
    """One provider and how it has behaved."""

    def __init__(self, client: ChainClient, requests: int) -> None:
        self.client = client
        self.gate = Gate(requests)
        self.backoff = Backoff()
        self.ready_at_s = 0.0
        self.is_verified = False
        self.is_foreign = False
        self.last_error = ""


class NodePool:
    """Asks the providers in their order of preference.

    Args:
        clients: The providers, the preferred one first.
        requests: Requests under way at one provider, at most.
        monotonic_s: A clock, seconds.
    """

    def __init__(
        self,
        clients: Sequence[ChainClient],
        requests: int,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seats = [Seat(client, requests) for client in clients]
        self._monotonic_s = monotonic_s
        self._expected: ChainIdentity | None = None

    def expect(self, identity: ChainIdentity | None) -> None:
        """Believe only providers of this chain from now on; None: of whichever comes first."""
        self._expected = identity
        self.doubt()

    def doubt(self) -> None:
        """Ask every provider again who it is before the next question."""
        for seat in self.seats:
            seat.is_verified = False

    def distrust(self, name: str) -> None:
        """Let a provider rest whose answer has turned out incomplete, if there are others."""
        if len(self.seats) > 1:
            for seat in self.seats:
                if seat.client.name == name:
                    seat.last_error = "its answer was incomplete"
                    seat.ready_at_s = self._monotonic_s() + DISTRUST_S

    def troubles(self) -> dict[str, str]:
        """Return the last error of each provider that is not well."""
        now_s = self._monotonic_s()
        return {s.client.name: s.last_error for s in self.seats if s.ready_at_s > now_s}

    async def identity(self) -> ChainIdentity:
        """Return who the first provider that answers is.

        Raises:
            NoContract: If it has no contract at the address.
            TransientError: If none answers.
        """
        for seat in self.seats:
            if seat.is_foreign:
                seat.is_foreign, seat.ready_at_s = False, 0.0
        found = await self._ask(ChainClient.identity, is_checked=False)
        if found is None:
            raise NoContract("there is no contract at TRADING_ADDRESS on this chain yet")
        return found

    async def ask(self, work: Callable[[ChainClient], Awaitable[T]]) -> T:
        """Return what ``work`` returns with the first provider that can do it.

        Raises:
            RangeTooLarge: If a provider wants fewer blocks at once.
            StateUnavailable: If no provider that answers has the state of that block.
            Suspicious: If a log seems to be missing from every answer.
            ForeignChain: If only providers of another chain answer.
            TransientError: If none can do it now; with the time until one may.
        """
        return await self._ask(work, is_checked=True)

    async def _ask(self, work: Callable[[ChainClient], Awaitable[T]], *, is_checked: bool) -> T:
        """Ask round by round, as long as a provider will be ready again soon.

        A step of the scanner takes several questions: giving up at the first failure would throw
        away the answers that have come already.
        """
        for rounds_left in reversed(range(ROUNDS)):
            try:
                return await self._ask_all(work, is_checked=is_checked)
            except Suspicious:
                raise
            except TransientError as error:
                wait_s = error.retry_after_s or 0.0
                if not rounds_left or wait_s > LONGEST_WAIT_S:
                    raise
                await asyncio.sleep(wait_s)
        raise AssertionError

    async def _ask_all(self, work: Callable[[ChainClient], Awaitable[T]], *, is_checked: bool) -> T:
        worst: LinkoraError | None = None
        now_s = self._monotonic_s()
        for seat in [s for s in self.seats if s.ready_at_s <= now_s]:
            try:
                async with seat.gate.enter():
                    if is_checked and not await self._is_ours(seat):
                        continue
                    result = await work(seat.client)
            except RangeTooLarge:
                raise
            except (StateUnavailable, Suspicious) as error:
                worst = error  # not the provider's health, but perhaps another one knows more
            except (TransientError, RejectedError, CorruptMessage) as error:
                self._note(seat, error)
                worst = worst or error
            else:
                seat.backoff.reset()
                seat.gate.speed_up()
                return result
        raise self._failure(worst)

    async def _is_ours(self, seat: Seat) -> bool:
        expected = self._expected
        if seat.is_verified or expected is None:
            return True
        found = await seat.client.identity()
        seat.is_foreign = found != expected
        seat.is_verified = not seat.is_foreign
        if seat.is_foreign:
            seat.last_error = expected.differences(found)
            seat.ready_at_s = self._monotonic_s() + FOREIGN_RETRY_S
            log.warning("provider_is_foreign", provider=seat.client.name, found=str(found))
        return seat.is_verified

    def _note(self, seat: Seat, error: LinkoraError) -> None:
        after_s = error.retry_after_s if isinstance(error, TransientError) else None
        if isinstance(error, RateLimited):
            seat.gate.slow_down()
        seat.is_verified = False
        seat.last_error = str(error)
        seat.ready_at_s = self._monotonic_s() + seat.backoff.next_delay_s(after_s)
        if isinstance(error, CorruptMessage) and len(self.seats) > 1:
            seat.ready_at_s = self._monotonic_s() + DISTRUST_S
        log.warning("provider_failed", provider=seat.client.name, error=str(error)[:300])

    def _failure(self, worst: LinkoraError | None) -> LinkoraError:
        if isinstance(worst, StateUnavailable | Suspicious):
            return worst
        if all(seat.is_foreign for seat in self.seats):
            return ForeignChain("; ".join(f"{s.client.name}: {s.last_error}" for s in self.seats))
        wait_s = max(0.0, min(s.ready_at_s for s in self.seats) - self._monotonic_s())
        reason = str(worst) if worst else "; ".join(s.last_error for s in self.seats)
        kind = NodeBehind if isinstance(worst, NodeBehind) else TransientError
        return kind(reason, wait_s)
