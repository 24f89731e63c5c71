# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which of the wanted symbols the exchange trades, as it changes."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from collector.binance.forms import ExchangeInfo
from collector.surroundings import Surroundings
from collector.symbols import choose
from linkora.errors import TransientError

log = structlog.get_logger(__name__)

# Most halts are short: after a change we look soon, and ever more seldom while nothing changes.
SOONEST_LOOK_S = 60.0
LATEST_LOOK_S = 1800.0


class Listing:
    """Chooses the symbols to collect, and tells when the choice changes."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._refused: dict[str, str] = {}
        self.collected: tuple[str, ...] = ()
        around.health.fact("symbols_left_out", lambda: self._refused)

    def take(self, info: ExchangeInfo) -> bool:
        """Choose by what the exchange says now; return whether anything changed."""
        choice = choose(self._around.settings.symbols, info.symbols)
        for symbol, reason in choice.refused.items():
            if self._refused.get(symbol) != reason:
                log.warning("symbol_left_out", symbol=symbol, reason=reason)
        has_changed = (choice.collected, choice.refused) != (self.collected, self._refused)
        self.collected, self._refused = choice.collected, choice.refused
        return has_changed

    async def follow(
        self,
        ask: Callable[[], Awaitable[ExchangeInfo]],
        want: Callable[[tuple[str, ...]], None],
    ) -> None:
        """Take up symbols that begin to trade, let go of those that end, for ever."""
        wait_s = SOONEST_LOOK_S
        while True:
            await asyncio.sleep(wait_s)
            try:
                has_changed = self.take(await ask())
            except TransientError as error:
                self._around.lost("exchange", error)
                continue
            want(self.collected)
            wait_s = SOONEST_LOOK_S if has_changed else min(2 * wait_s, LATEST_LOOK_S)
