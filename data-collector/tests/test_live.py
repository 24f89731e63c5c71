# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from collector.binance.forms import KlineRow
from collector.candle_store import CandleStore
from collector.clock import ExchangeClock
from collector.live import LiveCandles
from collector.metrics import CollectorMetrics
from collector.settings import Settings
from collector.surroundings import Surroundings
from linkora.health import Health
from linkora.market import Candle
from linkora.metrics import new_registry, render
from testkit.services import meanwhile, until

NOW = 1_700_000_000_000 // 60_000 * 60_000 + 20_000
MINUTE = 60_000


class Told:
    """Remembers what would have been published."""

    def __init__(self) -> None:
        self.told: list[Candle] = []

    async def candles(self, candles: Iterable[Candle]) -> None:
        self.told += candles


def surroundings(registry: CollectorRegistry | None = None) -> Surroundings:
    clock = ExchangeClock()
    clock.set(NOW)
    metrics = CollectorMetrics(registry or new_registry())
    return Surroundings(clock, Settings(), Health(), metrics)


@asynccontextmanager
async def live_candles(pool) -> AsyncIterator[tuple[LiveCandles, CandleStore, Told]]:
    around = surroundings()
    store, told = CandleStore(pool), Told()
    live = LiveCandles(["X"], store=store, news=told, around=around)
    async with meanwhile(live.closes.keep()):
        yield live, store, told


def row(open_ms: int, volume: str, trades: int = 3) -> KlineRow:
    return KlineRow(
        open_ms, "1", "2", "1", "2", volume, open_ms + 59_999, "15", trades, "0", "0"
    )  # fmt: skip


def candle(open_ms: int, volume: str) -> Candle:
    return Candle(
        symbol="X", open_time_ms=open_ms, close_time_ms=open_ms + 59_999, open=Decimal(1),
        high=Decimal(2), low=Decimal(1), close=Decimal(2), volume=Decimal(volume),
        quote_volume=Decimal(15), trades=3, taker_buy_volume=Decimal(0),
        taker_buy_quote_volume=Decimal(0), is_closed=True,
    )  # fmt: skip


async def test_a_correction_made_while_nobody_listened_is_stored_after_a_restart(pool):
    async with live_candles(pool) as (live, store, told):
        await store.store_states([candle(live.from_ms, "10")])
        live.on_rows("X", [row(live.from_ms, "11")], asked_ms=NOW, with_running=False)
        await until(lambda: bool(told.told))
    assert [(c.volume, c.revision) for c in told.told] == [(Decimal(11), 1)]


async def test_a_close_that_is_heard_twice_is_told_once(pool):
    async with live_candles(pool) as (live, _, told):
        for _ in range(2):
            live.on_kline(candle(live.from_ms, "10"), 3, NOW)
            await until(lambda: bool(told.told))
        live.on_rows("X", [row(live.from_ms, "10")], asked_ms=NOW, with_running=False)
        await asyncio.sleep(0.2)
    assert [c.revision for c in told.told] == [0]


@pytest.mark.parametrize(("age_ms", "is_taken"), [(30_000, False), (90_000, True)])
async def test_fewer_trades_by_rest_count_only_once_rest_must_have_caught_up(
    age_ms, is_taken, pool
):
    async with live_candles(pool) as (live, _, told):
        live.on_kline(candle(live.from_ms, "10"), 3, NOW)
        await until(lambda: len(told.told) == 1)
        asked_ms = live.from_ms + MINUTE + age_ms
        lagging = row(live.from_ms, "9", trades=2)
        live.on_rows("X", [lagging], asked_ms=asked_ms, with_running=False)
        if is_taken:
            await until(lambda: len(told.told) == 2)
        else:
            await asyncio.sleep(0.3)
            assert len(told.told) == 1


async def test_the_state_before_a_close_in_the_answer_is_not_final(pool):
    async with live_candles(pool) as (live, _, told):
        rows = [row(live.from_ms, "9"), row(live.from_ms + MINUTE, "1", trades=1)]
        asked_ms = rows[0].close_time_ms  # the answer may have been made just before the end
        live.on_rows("X", rows, asked_ms=asked_ms, with_running=False)
        await asyncio.sleep(0.2)
        assert told.told == []
        live.on_rows("X", rows, asked_ms=asked_ms + 1, with_running=False)
        await until(lambda: bool(told.told))
    assert msgspec.structs.asdict(told.told[0])["is_closed"] is True


@pytest.mark.parametrize("with_running", [False, True])
async def test_a_view_that_lags_closes_no_minute_with_what_it_shows_of_it(with_running, pool):
    """Ten seconds into the next minute REST still shows the state of ten seconds before."""
    async with live_candles(pool) as (live, _, told):
        lagging, whole = row(live.from_ms, "9", trades=2), row(live.from_ms, "10")
        asked_ms = lagging.close_time_ms + 10_000
        has_caught_up = live.on_rows("X", [lagging], asked_ms=asked_ms, with_running=with_running)
        assert has_caught_up is False
        await asyncio.sleep(0.2)
        assert told.told == []
        later = row(live.from_ms + MINUTE, "1", trades=1)
        assert live.on_rows("X", [whole, later], asked_ms=asked_ms, with_running=with_running)
        await until(lambda: bool(told.told))
    assert [(c.volume, c.revision) for c in told.told] == [(Decimal(10), 0)]


async def test_the_last_row_is_final_after_a_while_though_nothing_follows_it(pool):
    """An outage of the exchange: the minute in which it began is followed by nothing."""
    async with live_candles(pool) as (live, _, told):
        last = row(live.from_ms, "9")
        asked_ms = last.close_time_ms + 60_000
        assert live.on_rows("X", [last], asked_ms=asked_ms, with_running=False)
        await until(lambda: bool(told.told))


async def test_an_answer_that_lacks_or_shortens_a_known_close_has_not_caught_up(pool):
    async with live_candles(pool) as (live, _, _):
        before, known = row(live.from_ms, "5"), row(live.from_ms + MINUTE, "10")
        live.on_rows("X", [before], asked_ms=NOW + MINUTE, with_running=False)
        live.on_kline(candle(known.open_time_ms, "10"), 3, NOW)
        asked_ms = known.close_time_ms + 6_000
        ask = {"asked_ms": asked_ms, "with_running": False}
        assert not live.on_rows("X", [], **ask)
        assert not live.on_rows("X", [before], **ask)
        assert not live.on_rows("X", [before, row(known.open_time_ms, "9", trades=2)], **ask)
        assert live.on_rows("X", [before, known], **ask)
        # Later than this, what REST does not show is a matter for the chase and the ledger.
        late = {**ask, "asked_ms": known.close_time_ms + 66_000}
        assert live.on_rows("X", [], **late)


async def test_two_rows_of_one_minute_count_as_its_earlier_one_however_often_they_are_read(pool):
    """Opens are off the minute grid after some outages; the store keeps the earlier one too."""
    async with live_candles(pool) as (live, _, told):
        first, second = row(live.from_ms + 100, "10"), row(live.from_ms + 50_000, "3")
        for _ in range(3):
            live.on_rows("X", [first, second], asked_ms=NOW + 2 * MINUTE, with_running=False)
            await until(lambda: bool(told.told))
            await asyncio.sleep(0.1)
    assert [(c.volume, c.revision) for c in told.told] == [(Decimal(10), 0)]


async def test_a_close_whose_telling_is_cut_off_is_announced_as_missed(pool):
    """Symbols change hands while a close is committed but not told: readers must look."""
    around = surroundings()
    news = HangingNews()
    live = LiveCandles(["X"], store=CandleStore(pool), news=news, around=around)
    async with meanwhile(live.closes.keep()):
        live.on_kline(candle(live.from_ms, "10"), 3, NOW)
        await until(lambda: news.is_telling)
    assert news.changed == ["X"]


class HangingNews(Told):
    def __init__(self) -> None:
        super().__init__()
        self.is_telling = False
        self.changed: list[str] = []

    async def candles(self, candles: Iterable[Candle]) -> None:
        self.is_telling = True
        await asyncio.Event().wait()

    def history_changed(self, symbol: str) -> None:
        self.changed.append(symbol)


def test_the_figures_of_symbols_that_others_collect_now_are_gone():
    registry = new_registry()
    around = surroundings(registry)
    LiveCandles(["X", "Y"], store=None, news=None, around=around)
    LiveCandles(["Y"], store=None, news=None, around=around)
    shown = render(registry).decode()
    assert 'collector_stream_silence_seconds{symbol="Y"}' in shown
    assert 'symbol="X"' not in shown
