# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from collector import fetching, repair
from collector.binance.forms import KlineRow
from collector.fetching import EXCHANGE_HAD_NONE, Fetching
from collector.gaps import MinuteRange
from collector.ports import Gap, SenselessError, StoredPages
from collector.repair import Repair
from collector.surroundings import Surroundings
from linkora.errors import RejectedError
from testkit.services import meanwhile, until

MINUTE = 60_000
NOW = 1_700_000_000_000 // MINUTE * MINUTE + 20_000


class Ledger:
    """A store that has only gaps, and remembers what is said of them."""

    def __init__(self, due: Sequence[Gap]) -> None:
        self.due = list(due)
        self.noted: list[tuple[str, MinuteRange, str | None]] = []

    async def due_gaps(self, symbols: Sequence[str], limit: int) -> list[Gap]:
        due, self.due = self.due, []
        return due

    async def open_gaps(self, symbols: Sequence[str]) -> int:
        return 0

    async def store_pages(self, symbol: str, pages: Any, *, final_before_ms: int) -> StoredPages:
        return StoredPages(changed=0, revised=0)

    async def note_gaps(
        self, symbol: str, gaps: Sequence[MinuteRange], *, retry_after_s: float, reason: str | None
    ) -> None:
        self.noted += [(symbol, gap, reason) for gap in gaps]


class Exchange:
    """Has no rows at all, and answers some symbols with an error."""

    def __init__(self, errors: dict[str, Exception] | None = None) -> None:
        self._errors = errors or {}

    async def klines(self, symbol: str, **bounds: Any) -> tuple[bytes, list[KlineRow]]:
        if symbol in self._errors:
            raise self._errors[symbol]
        return b"[]", []


@asynccontextmanager
async def repairing(around: Surroundings, store: Ledger, exchange: Exchange) -> AsyncIterator[None]:
    loop = Repair(
        ["X", "Y"],
        fetching=Fetching(exchange=exchange, store=store, news=None, around=around),
        store=store,
        around=around,
    )
    async with meanwhile(loop.keep()):
        yield


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "REPAIR_INTERVAL_S", 0.01)


def minute(age_minutes: int) -> MinuteRange:
    open_ms = NOW // MINUTE * MINUTE - age_minutes * MINUTE
    return MinuteRange(open_ms, open_ms + MINUTE)


@pytest.mark.parametrize(("age_minutes", "reason"), [(4, None), (60, EXCHANGE_HAD_NONE)])
async def test_a_minute_that_rest_may_not_have_yet_is_never_given_up(
    age_minutes, reason, make_around
):
    """The exchange's REST was seen 5 candles behind its streams."""
    gap = Gap("X", minute(age_minutes), attempts=2)
    store = Ledger([gap])
    async with repairing(make_around(gap_confirmations=3), store, Exchange()):
        await until(lambda: bool(store.noted))
    assert store.noted == [("X", gap.span, reason)]


@pytest.mark.parametrize(("attempts", "reason"), [(0, None), (2, "exchange_refused")])
async def test_a_refusal_explains_a_gap_only_when_it_is_confirmed(attempts, reason, make_around):
    gap = Gap("X", minute(60), attempts)
    store = Ledger([gap])
    async with repairing(
        make_around(gap_confirmations=3),
        store,
        Exchange({"X": RejectedError("exchange: 400 0 odd")}),
    ):
        await until(lambda: bool(store.noted))
    assert store.noted == [("X", gap.span, reason)]


async def test_answers_that_never_make_sense_do_not_keep_other_gaps_waiting(
    make_around, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fetching, "SENSELESS_TRIES", 3)
    gaps = [Gap("X", minute(60), 0), Gap("Y", minute(60), 0)]
    store = Ledger(gaps)
    async with repairing(
        make_around(gap_confirmations=3),
        store,
        Exchange({"X": SenselessError("exchange: senseless")}),
    ):
        await until(lambda: len(store.noted) == 2)
    assert store.noted == [(gap.symbol, gap.span, None) for gap in gaps]
