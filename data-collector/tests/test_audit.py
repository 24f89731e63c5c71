# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from collector import audit
from collector.audit import Audit, differing
from collector.binance.forms import KlineRow
from collector.gaps import MinuteRange
from collector.ports import Day, SenselessError
from collector.surroundings import Surroundings
from linkora.backoff import Backoff
from linkora.errors import TransientError

DAY = 86_400_000


def told(day: int, trades: int, volume: str) -> KlineRow:
    return KlineRow(
        day * DAY, "1", "1", "1", "1", volume, (day + 1) * DAY - 1, "1", trades, "0", "0"
    )


def test_a_day_differs_if_its_trades_or_its_volume_do_or_if_we_have_none_of_it():
    rows = [told(0, 5, "1.50000000"), told(1, 5, "2"), told(2, 6, "2"), told(3, 1, "1")]
    stored = [Day(0, 5, Decimal("1.5")), Day(DAY, 5, Decimal("2.1")), Day(2 * DAY, 5, Decimal(2))]
    assert [day.open_ms // DAY for day in differing(rows, stored)] == [1, 2, 3]


class Hesitant:
    """An exchange that fails at first, and a store without days; remembers what is fetched."""

    def __init__(self, failures: int, error: type[TransientError] = TransientError) -> None:
        self._failures = failures
        self._error = error
        self.asked = 0
        self.fetched: list[MinuteRange] = []

    async def klines(self, symbol: str, *, start_ms: int, **_: Any) -> tuple[bytes, list[KlineRow]]:
        self.asked += 1
        if self.asked <= self._failures:
            raise self._error("exchange: busy")
        return b"", [told(start_ms // DAY, 5, "1.5")]

    async def days(self, *_: Any) -> list[Day]:
        return []

    async def refetch(self, symbol: str, span: MinuteRange) -> int:
        self.fetched.append(span)
        return 1


@pytest.mark.parametrize(("failures", "days"), [(0, 1), (2, 1), (audit.TRIES, 0)])
async def test_a_day_is_compared_in_spite_of_a_short_trouble(
    failures, days, make_around, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(audit, "Backoff", lambda: Backoff(longest_s=0.01))
    outside = Hesitant(failures)
    await judge_of(outside, make_around).compare(["X"])
    assert len(outside.fetched) == days


async def test_an_outage_that_lasts_ends_the_round_without_a_last_wait(
    make_around, monkeypatch: pytest.MonkeyPatch
):
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(audit, "asyncio", SimpleNamespace(sleep=sleep))
    outside = Hesitant(10**6)
    await judge_of(outside, make_around).compare(["X", "Y", "Z"])
    assert outside.asked == audit.TRIES
    assert len(waits) == audit.TRIES - 1


async def test_a_symbol_whose_days_make_no_sense_keeps_no_other_from_being_compared(
    make_around, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(audit, "Backoff", lambda: Backoff(longest_s=0.01))
    outside = Hesitant(audit.TRIES, SenselessError)
    await judge_of(outside, make_around).compare(["X", "Y"])
    assert len(outside.fetched) == 1


def judge_of(outside: Hesitant, make_around: Callable[..., Surroundings]) -> Audit:
    around = make_around(start_date="2023-11-10")
    return Audit(exchange=outside, store=outside, refetch=outside.refetch, around=around)
