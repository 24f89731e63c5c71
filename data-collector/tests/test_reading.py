# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from collector import reading
from collector.binance.forms import KlineRow
from collector.live import LiveCandles
from collector.reading import Reading
from linkora.errors import RejectedError
from testkit.services import until


class RefusesAtFirst:
    """An exchange that refuses the first requests and then answers."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.asked = 0

    async def klines(self, symbol: str, **bounds: Any) -> tuple[bytes, list[KlineRow]]:
        self.asked += 1
        if self.asked <= self.refusals:
            raise RejectedError("exchange: 400 0 odd")
        return b"[]", []


async def test_a_refused_symbol_is_asked_for_again_after_a_while(
    make_around, monkeypatch: pytest.MonkeyPatch
):
    now_s = 1000.0
    monkeypatch.setattr(reading, "time", SimpleNamespace(monotonic=lambda: now_s))
    around = make_around(realtime_interval=0.01)
    exchange = RefusesAtFirst(1)
    live = LiveCandles(["X"], store=None, news=None, around=around)
    loops = Reading(live, None, exchange=exchange, store=None, around=around, unheard=lambda: ["X"])
    polling = asyncio.create_task(loops.poll())
    try:
        await until(lambda: exchange.asked == 1)
        await asyncio.sleep(0.1)
        assert exchange.asked == 1
        now_s += reading.REFUSED_FOR_S
        await until(lambda: exchange.asked > 2)
    finally:
        polling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await polling
