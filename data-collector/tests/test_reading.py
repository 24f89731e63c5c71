# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from collector import reading
from collector.binance.forms import KlineRow
from collector.live import LiveCandles
from collector.reading import Reading
from collector.surroundings import Surroundings
from linkora.errors import RejectedError, TransientError
from linkora.market import Candle
from linkora.timeframes import MINUTE_MS
from testkit.services import meanwhile, until


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
    async with meanwhile(loops.poll()):
        await until(lambda: exchange.asked == 1)
        await asyncio.sleep(0.1)
        assert exchange.asked == 1
        now_s += reading.REFUSED_FOR_S
        await until(lambda: exchange.asked > 2)


class Moody:
    """An exchange whose first answers fail or lag; then it shows the minutes of the test."""

    def __init__(self, around: Surroundings, moods: Sequence[str]) -> None:
        self._clock = around.clock
        self._moods = list(moods)
        self.asked: list[bool] = []

    async def klines(
        self, symbol: str, *, start_ms: int, is_background: bool = False, **bounds: Any
    ) -> tuple[bytes, list[KlineRow]]:
        self.asked.append(is_background)
        mood = self._moods.pop(0) if self._moods else "well"
        if mood == "away":
            raise TransientError("exchange: away")
        end_ms = self._clock.minute_ms() - (MINUTE_MS if mood == "lagging" else -MINUTE_MS)
        return b"", [
            KlineRow(t, "1", "2", "1", "2", "10", t + 59_999, "15", 3, "0", "0")
            for t in range(start_ms, end_ms, MINUTE_MS)
        ]


class Added:
    """Remembers the opens of the closes that were added."""

    def __init__(self) -> None:
        self.added: list[int] = []

    def add(self, candle: Candle, *, is_row: bool) -> None:
        self.added.append(candle.open_time_ms)


@pytest.mark.parametrize("moods", [["away"] * 2, ["lagging"] * 2, ["away", "lagging"]])
async def test_what_could_not_be_verified_after_a_reconnect_is_read_again_within_the_minute(
    moods, make_around, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "VERIFY_AGAIN_FIRST_S", 0.05)
    around = make_around(verify_delay_s=58)
    around.clock.set(around.clock.minute_ms() + 500)  # the minute's own turn is in 57.5 s
    exchange = Moody(around, moods)
    live = LiveCandles(["X"], store=None, news=None, around=around)
    live.closes = Added()
    last_ms = around.clock.minute_ms() - MINUTE_MS
    for open_ms in range(live.from_ms, last_ms, MINUTE_MS):
        live.account_for("X", [open_ms])
    loops = Reading(live, None, exchange=exchange, store=None, around=around, unheard=list)
    live.on_connected(["X"])
    async with meanwhile(loops.verify_closes()):
        # The minute that ended during the break.
        await until(lambda: last_ms in live.closes.added, timeout_s=20)
        assert exchange.asked == [False, True, True]
        # Once it has been read, nothing more is asked before the minute's own turn.
        await asyncio.sleep(0.5)
        assert len(exchange.asked) == 3


async def test_a_reading_that_shows_all_is_not_repeated_within_the_minute(make_around):
    around = make_around(verify_delay_s=15)  # that was 5 s ago
    exchange = Moody(around, [])
    live = LiveCandles(["X"], store=None, news=None, around=around)
    loops = Reading(live, None, exchange=exchange, store=None, around=around, unheard=list)
    live.on_connected(["X"])
    async with meanwhile(loops.verify_closes()):
        await until(lambda: bool(exchange.asked))
        await asyncio.sleep(0.3)
    assert exchange.asked == [False]


async def test_a_row_that_lags_is_no_late_close_however_often_it_is_read(
    make_around, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "CHASE_INTERVAL_S", 0.05)
    around = make_around()
    live = LiveCandles(["X"], store=None, news=None, around=around)
    live.closes = Added()
    late_ms = around.clock.minute_ms() - MINUTE_MS
    live.account_for("X", range(live.from_ms, late_ms, MINUTE_MS))
    # Until the minute after it shows, the late one's row may be a state of before its end.
    exchange = LagsByAMinute(around, 3)
    loops = Reading(live, None, exchange=exchange, store=None, around=around, unheard=list)
    async with meanwhile(loops.chase_closes()):
        await until(lambda: live.closes.added == [late_ms])
        await asyncio.sleep(0.2)
    assert len(exchange.asked) == 4
    (counted, *_) = around.metrics.closes_late.collect()[0].samples
    assert counted.value == 1


class LagsByAMinute(Moody):
    """An exchange whose first answers end with the minute before the running one."""

    def __init__(self, around: Surroundings, lagging: int) -> None:
        super().__init__(around, [])
        self._lagging = lagging

    async def klines(
        self, symbol: str, *, start_ms: int, is_background: bool = False, **bounds: Any
    ) -> tuple[bytes, list[KlineRow]]:
        body, rows = await super().klines(symbol, start_ms=start_ms, is_background=is_background)
        return body, rows[:-1] if len(self.asked) <= self._lagging else rows


class AnswersLiveOnly(Moody):
    """An exchange whose first answer fails; background requests wait behind the history's."""

    async def klines(
        self, symbol: str, *, start_ms: int, is_background: bool = False, **bounds: Any
    ) -> tuple[bytes, list[KlineRow]]:
        if is_background:
            self.asked.append(True)
            await asyncio.Event().wait()
        return await super().klines(symbol, start_ms=start_ms, **bounds)


@pytest.mark.parametrize("why", ["the minute's turn", "a reconnect"])
async def test_asking_again_that_waits_keeps_nobody_from_being_verified(
    why, make_around, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "VERIFY_AGAIN_FIRST_S", 0.05)
    # It is 20 s into the minute.
    around = make_around(verify_delay_s=24 if why == "the minute's turn" else 15)
    exchange = AnswersLiveOnly(around, ["away"])
    live = LiveCandles(["X"], store=None, news=None, around=around)
    loops = Reading(live, None, exchange=exchange, store=None, around=around, unheard=list)
    live.on_connected(["X"])
    async with meanwhile(loops.verify_closes()):
        await until(lambda: exchange.asked == [False, True], timeout_s=20)
        if why == "a reconnect":
            live.on_connected(["X"])
        await until(lambda: exchange.asked == [False, True, False], timeout_s=20)
