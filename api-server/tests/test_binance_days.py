# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The newest 24 hours: hours and minutes read together against the minutes alone."""

from typing import Any

import pytest

from linkora.timeframes import DAY_MS, MINUTE_MS, floor_minute_ms
from marketdata.binance_tickers import day_ticker, ticker_event
from marketdata.queries import Queries
from testkit.market import Collector, book, minute, now_ms, running

SYMBOL = "BTCUSDT"


@pytest.mark.parametrize("missing", [1, 7, 10_000])
async def test_day_adds_up_to_its_minutes(pool: Any, collector: Collector, missing: int) -> None:
    newest_ms = floor_minute_ms(now_ms())
    opens = range(newest_ms - 26 * 60 * MINUTE_MS, newest_ms + 1, MINUTE_MS)
    candles = [minute(SYMBOL, t) for i, t in enumerate(opens) if missing == 1 or i % missing]
    candles[-1] = running(candles[-1])
    await collector.store(candles)
    before_ms = now_ms()
    (day,) = await Queries(pool).newest_days([SYMBOL, "NOPE"])
    # The minute in which the window begins may have changed meanwhile.
    found = []
    for asked_ms in (before_ms, now_ms()):
        inside = [c for c in candles if c.open_time_ms > asked_ms - DAY_MS]
        earlier = [c for c in candles if c.open_time_ms <= asked_ms - DAY_MS]
        found.append(
            (inside[0].open, max(c.high for c in inside), min(c.low for c in inside),
             inside[-1].close, sum(c.volume for c in inside), sum(c.quote_volume for c in inside),
             sum(c.trades for c in inside), inside[-1].close_time_ms, earlier[-1].close)
        )  # fmt: skip
    assert (
        day.open, day.high, day.low, day.close, day.volume, day.quote_volume, day.trades,
        day.close_ms, day.close_before,
    ) in found  # fmt: skip


async def test_day_without_a_minute_before_it_has_no_close_before(
    pool: Any, collector: Collector
) -> None:
    await collector.fill([SYMBOL], minutes=3)
    (day,) = await Queries(pool).newest_days([SYMBOL])
    assert day.close_before is None
    assert day_ticker(day, None, is_mini=False)["prevClosePrice"] == f"{day.open:.8f}"
    full = ticker_event(day, book(SYMBOL, 5), is_mini=False)
    mini = ticker_event(day, None, is_mini=True)
    assert {**full, **mini, "e": full["e"]} == full
    assert (full["e"], mini["e"]) == ("24hrTicker", "24hrMiniTicker")
    assert full["b"] == f"{book(SYMBOL, 5).bids[0].price:.8f}"
