# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which minutes are found to have changed unheard; ``test_outages.py`` has it on real servers."""

from typing import Any

import pytest

from linkora.errors import TransientError
from linkora.timeframes import DAY_MS, MINUTE_MS, TIMEFRAMES
from marketdata.aggregation import Ladder
from marketdata.audience import FRAMES
from marketdata.sequence import MAX_EPOCHS, Numbers
from marketdata.unheard import MARGIN_S, Unheard

JANUARY_MS = 1_704_067_200_000
FEBRUARY_MS = JANUARY_MS + 31 * DAY_MS


class Stored:
    """A store of minutes with the seconds of their writing."""

    def __init__(self) -> None:
        self.written: dict[int, float] = {}
        self.revision = 0
        self.now_s = 0.0
        self.asked: list[tuple[int, int]] = []
        self.is_away = False

    def write(self, open_ms: int) -> None:
        self.revision += 1
        self.written[open_ms] = self.now_s

    async def months(self, symbol: str) -> dict[int, str]:
        marks: dict[int, list[float]] = {}
        for open_ms, written_s in sorted(self.written.items()):
            marks.setdefault(TIMEFRAMES["1M"].open_ms(open_ms), []).append(written_s)
        return {open_ms: str(times) for open_ms, times in marks.items()}

    async def changed_minutes(
        self, symbol: str, start_ms: int, end_ms: int, *, age_s: float, limit: int
    ) -> list[tuple[int, int]]:
        if self.is_away:
            raise TransientError("away")
        self.asked.append((start_ms, end_ms))
        return [
            (open_ms, int(written_s * 1e6))
            for open_ms, written_s in self.written.items()
            if start_ms <= open_ms < end_ms and written_s >= self.now_s - age_s
        ][:limit]


@pytest.fixture
async def store() -> Stored:
    stored = Stored()
    for open_ms in (JANUARY_MS, FEBRUARY_MS, FEBRUARY_MS + MINUTE_MS):
        stored.write(open_ms)
    stored.now_s = 100_000.0
    return stored


async def looked(unheard: Unheard, now_s: float) -> set[int]:
    look = await unheard.look("X", now_s, is_followed=True)
    unheard.settle("X", look, now_s)
    return set(look.minutes)


async def test_only_months_that_changed_are_looked_into(store: Stored) -> None:
    unheard = Unheard(store)
    assert await looked(unheard, store.now_s) == set()
    store.write(JANUARY_MS)
    assert await looked(unheard, store.now_s) == {JANUARY_MS}
    assert store.asked == [(JANUARY_MS, FEBRUARY_MS)]
    assert await looked(unheard, store.now_s) == set()
    assert len(store.asked) == 1


async def test_what_was_found_once_is_no_news_again(store: Stored) -> None:
    unheard = Unheard(store)
    await looked(unheard, store.now_s)
    store.write(FEBRUARY_MS)
    assert await looked(unheard, store.now_s) == {FEBRUARY_MS}
    store.now_s += 1
    store.write(FEBRUARY_MS + MINUTE_MS)
    assert await looked(unheard, store.now_s) == {FEBRUARY_MS + MINUTE_MS}


async def test_time_counts_from_when_the_symbol_was_heard_last(store: Stored) -> None:
    unheard = Unheard(store)
    await looked(unheard, store.now_s)
    store.write(FEBRUARY_MS)  # and told
    store.now_s += 2 * MARGIN_S
    unheard.hear("X", store.now_s)
    store.now_s += 2 * MARGIN_S
    store.write(JANUARY_MS)  # and not told, for an hour
    store.now_s += 3600
    assert await looked(unheard, store.now_s) == {JANUARY_MS}


async def test_nothing_is_forgotten_while_the_database_is_away(store: Stored) -> None:
    unheard = Unheard(store)
    await looked(unheard, store.now_s)
    store.write(JANUARY_MS)
    store.is_away = True
    with pytest.raises(TransientError):
        await looked(unheard, store.now_s)
    store.is_away = False
    # Read, but telling it failed: the look was not settled.
    await unheard.look("X", store.now_s, is_followed=True)
    assert await looked(unheard, store.now_s) == {JANUARY_MS}


def test_numbers_go_on_over_a_reconnection() -> None:
    def at(seq: int, epoch: int = 1) -> Any:
        from linkora.messages import Position

        return Position(seq, epoch)

    numbers = Numbers()
    told = [numbers.is_next(at(*x)) for x in ((7,), (8,), (10,), (11,), (1, 2), (12,), (2, 2))]
    assert told == [True, True, False, True, False, True, True]


def test_numbers_remember_the_publishers_that_speak_and_let_the_old_ones_go() -> None:
    from linkora.messages import Position

    numbers = Numbers()
    assert numbers.is_next(Position(1, 1))
    for restart in range(2, 3 * MAX_EPOCHS):
        assert not numbers.is_next(Position(1, restart))
        assert numbers.is_next(Position(restart, 1))
    assert len(numbers) == MAX_EPOCHS
    assert not numbers.is_next(Position(2, 2))  # forgotten: the database is read again


def test_end_of_a_bucket_between_two_readings_is_told() -> None:
    from testkit.market import minute

    opens = [FEBRUARY_MS + i * MINUTE_MS for i in range(3)]  # of five: the last two never come
    old, new = (Ladder([minute("X", open_ms) for open_ms in opens], [], [], FRAMES) for _ in "ab")
    end_ms = FEBRUARY_MS + 5 * MINUTE_MS
    assert old.tick(end_ms - 50) == []
    new.continue_from(old)
    assert [frame.name for frame, _ in new.tick(end_ms + 50)] == ["5"]
