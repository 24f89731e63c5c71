# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Repairs the open gaps of the ledger: asks until the minutes come or are explained."""

import asyncio
from collections.abc import Sequence

import structlog

from collector.fetching import Fetching
from collector.ports import CandleStore, Gap
from collector.surroundings import Surroundings
from linkora.errors import RejectedError

log = structlog.get_logger(__name__)

REPAIR_INTERVAL_S = 5.0
GAPS_AT_ONCE = 50
REFUSED = "exchange_refused"


class Repair:
    """Asks for the minutes of open gaps, the longest due first."""

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        fetching: Fetching,
        store: CandleStore,
        around: Surroundings,
    ) -> None:
        self._symbols = symbols
        self._fetching = fetching
        self._store = store
        self._around = around

    async def keep(self) -> None:
        """Ask again and again, for ever."""
        while True:
            await asyncio.sleep(REPAIR_INTERVAL_S)
            gaps = await self._fetching.until_done(
                "database", lambda: self._store.due_gaps(self._symbols, GAPS_AT_ONCE)
            )
            for gap in gaps:
                await self._repair(gap)
            open_gaps = await self._fetching.until_done(
                "database", lambda: self._store.open_gaps(self._symbols)
            )
            self._around.metrics.open_gaps.set(open_gaps)

    async def _repair(self, gap: Gap) -> None:
        attempts = gap.attempts + 1
        log.info("gap_retried", symbol=gap.symbol, minutes=gap.span.minutes, attempts=attempts)
        try:
            for batch in self._fetching.batches([gap.span]):
                await self._fetching.fetch(gap.symbol, batch, attempts=attempts)
        except RejectedError as error:
            log.warning("gap_refused", symbol=gap.symbol, reason=str(error))
            is_final = self._fetching.is_confirmed([gap.span], attempts)
            await self._fetching.note(gap.symbol, [gap.span], REFUSED if is_final else None)
