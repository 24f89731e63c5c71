# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkora.timeframes import TIMEFRAMES

TIMES = st.integers(min_value=1_483_228_800_000, max_value=1_900_000_000_000)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("name", "moment", "opens", "next_opens"),
    [
        ("1", "2024-02-29T23:59:59.999", "2024-02-29T23:59", "2024-03-01T00:00"),
        ("45", "2024-01-01T00:50", "2024-01-01T00:45", "2024-01-01T01:30"),
        ("2H", "2024-01-01T03:10", "2024-01-01T02:00", "2024-01-01T04:00"),
        ("3H", "2024-01-01T23:10", "2024-01-01T21:00", "2024-01-02T00:00"),
        ("1W", "2024-03-03T23:59", "2024-02-26T00:00", "2024-03-04T00:00"),
        ("1W", "2024-03-04T00:00", "2024-03-04T00:00", "2024-03-11T00:00"),
        ("1M", "2024-02-29T12:00", "2024-02-01T00:00", "2024-03-01T00:00"),
        ("1M", "2023-12-31T23:59", "2023-12-01T00:00", "2024-01-01T00:00"),
    ],
)
def test_candles_open_on_the_grid_of_their_timeframe(name, moment, opens, next_opens):
    frame = TIMEFRAMES[name]
    assert frame.open_ms(at(moment)) == at(opens)
    assert frame.next_open_ms(at(opens)) == at(next_opens)


@given(st.sampled_from(sorted(TIMEFRAMES)), TIMES)
def test_every_moment_lies_in_exactly_one_candle(name, moment):
    frame = TIMEFRAMES[name]
    opens = frame.open_ms(moment)
    assert opens <= moment <= frame.close_ms(opens)
    assert frame.open_ms(frame.next_open_ms(opens)) == frame.next_open_ms(opens)
    assert frame.open_ms(opens) == opens


@given(st.sampled_from(sorted(TIMEFRAMES)), TIMES)
def test_a_parents_candle_never_straddles_its_childs(name, moment):
    frame = TIMEFRAMES[name]
    if frame.parent is not None:
        parent = TIMEFRAMES[frame.parent]
        opens = parent.open_ms(moment)
        assert frame.open_ms(opens) == frame.open_ms(parent.close_ms(opens))
