# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which symbols are ours: all of them for one collector, a fair share for each of several."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from math import ceil
from typing import Protocol

import structlog

from collector.surroundings import Surroundings
from linkora.backoff import Backoff
from linkora.errors import TransientError

log = structlog.get_logger(__name__)

RENEW_INTERVAL_S = 2.0


class LeaseSession(Protocol):
    """A connection to where the leases are; closing it gives all of them back."""

    async def collectors(self) -> int: ...  # noqa: D102
    async def take(self, symbol: str) -> bool: ...  # noqa: D102
    async def give(self, symbols: Sequence[str]) -> None: ...  # noqa: D102


class Leases:
    """Holds our share of the symbols and says when it changes.

    While the database is away nobody can take anything, so what is ours stays ours; when it is
    back, what another collector has taken meanwhile is his.

    Attributes:
        held: The symbols that are ours, in the order of the settings.
        changed: Set whenever ``held`` has changed.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        open_session: Callable[[], AbstractAsyncContextManager[LeaseSession]],
        around: Surroundings,
    ) -> None:
        self._symbols = symbols
        self._open_session = open_session
        self._around = around
        self.held: tuple[str, ...] = ()
        self.changed = asyncio.Event()

    def want(self, symbols: Sequence[str]) -> None:
        """Share these symbols from now on."""
        self._symbols = symbols

    async def keep(self) -> None:
        """Take, hold and give back, for ever."""
        backoff = Backoff(longest_s=RENEW_INTERVAL_S)
        while True:
            try:
                async with self._open_session() as session:
                    await self._hold(session, backoff)
            except TransientError as error:
                self._around.lost("database", error)
                await asyncio.sleep(backoff.next_delay_s())

    async def _hold(self, session: LeaseSession, backoff: Backoff) -> None:
        ours: set[str] = set()
        while True:
            share = ceil(len(self._symbols) / await session.collectors())
            kept = [symbol for symbol in self._symbols if symbol in ours][:share]
            await session.give(sorted(ours.difference(kept)))
            ours = set(kept)
            # After a break only what was ours is taken at first: others are coming back too.
            is_first_turn = not ours and self.held
            wanted = self.held if is_first_turn else self._symbols
            for symbol in wanted:
                if len(ours) < share and symbol not in ours and await session.take(symbol):
                    ours.add(symbol)
            self._note(ours)
            backoff.reset()
            await asyncio.sleep(RENEW_INTERVAL_S)

    def _note(self, ours: set[str]) -> None:
        held = tuple(symbol for symbol in self._symbols if symbol in ours)
        if held != self.held:
            log.info("symbols_assigned", count=len(held), of=len(self._symbols))
            self.held = held
            self.changed.set()
