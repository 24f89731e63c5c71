# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Looks for stored days that differ from the exchange's, and has them fetched again.

One request tells the trades and volumes of a thousand days, so the whole history is compared in
seconds. The exchange's own days disagree with its own minutes here and there; such a day is
fetched once and then left alone until the exchange says something else of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from collector.binance.forms import KlineRow
from collector.binance.wire import number
from collector.gaps import MinuteRange
from collector.ports import CandleStore, Day, Exchange, SenselessError
from collector.surroundings import Surroundings
from linkora.backoff import Backoff
from linkora.errors import RejectedError, TransientError
from linkora.timeframes import DAY_MS

log = structlog.get_logger(__name__)

DAYS_PER_PAGE = 1000
TRIES = 6
Refetch = Callable[[str, MinuteRange], Awaitable[int]]


class Audit:
    """Compares stored days with the exchange's.

    Args:
        refetch: Fetches a span of minutes again and returns how many were different.
    """

    def __init__(
        self, *, exchange: Exchange, store: CandleStore, refetch: Refetch, around: Surroundings
    ) -> None:
        self._exchange = exchange
        self._store = store
        self._refetch = refetch
        self._around = around
        self._left_alone: dict[tuple[str, int], Day] = {}

    async def compare(self, symbols: Sequence[str]) -> None:
        """Compare every whole day since START_DATE; what cannot be read waits for the next time.

        An outage that is not short ends the round: it would meet the other symbols, too. Answers
        without sense may be this symbol's alone.
        """
        for symbol in symbols:
            try:
                await self._try_to_compare(symbol)
            except TransientError as error:
                log.warning("audit_put_off", symbol=symbol)
                if not isinstance(error, SenselessError):
                    return
            except RejectedError as error:
                log.warning("audit_refused", symbol=symbol, reason=str(error))

    async def _try_to_compare(self, symbol: str) -> None:
        """Compare, in spite of a short trouble: the next time is far."""
        backoff = Backoff()
        while True:
            try:
                await self._compare(symbol)
            except TransientError as error:
                self._around.lost(str(error).partition(":")[0], error)
                if backoff.failures + 1 == TRIES:
                    raise
                await asyncio.sleep(backoff.next_delay_s(error.retry_after_s))
            else:
                return

    async def _compare(self, symbol: str) -> None:
        first_ms = -(-self._around.settings.start_ms // DAY_MS) * DAY_MS
        today_ms = self._around.clock.now_ms() // DAY_MS * DAY_MS
        for page_ms in range(first_ms, today_ms, DAYS_PER_PAGE * DAY_MS):
            end_ms = min(page_ms + DAYS_PER_PAGE * DAY_MS, today_ms)
            _, rows = await self._exchange.klines(
                symbol, start_ms=page_ms, end_ms=end_ms - 1, interval="1d", is_background=True
            )
            self._around.found("exchange")
            stored = await self._store.days(symbol, page_ms, end_ms)
            for day in differing(rows, stored):
                await self._mend(symbol, day)

    async def _mend(self, symbol: str, day: Day) -> None:
        if self._left_alone.get((symbol, day.open_ms)) == day:
            return
        corrected = await self._refetch(symbol, MinuteRange(day.open_ms, day.open_ms + DAY_MS))
        self._left_alone[symbol, day.open_ms] = day
        log.warning(
            "day_differed", symbol=symbol, day_open_ms=day.open_ms, minutes_corrected=corrected
        )


def differing(told: Sequence[KlineRow], stored: Sequence[Day]) -> list[Day]:
    """Return the days, as the exchange tells them, of which we have stored something else."""
    known = {day.open_ms: day for day in stored}
    days = (
        Day(row.open_time_ms // DAY_MS * DAY_MS, row.trades, number(row.volume)) for row in told
    )
    return [day for day in days if known.get(day.open_ms) != day]
