# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from hypothesis import given
from hypothesis import strategies as st

from collector.gaps import MinuteRange, batches, holes, pages, subtract

MINUTE = 60_000


def minutes(first: int, end: int) -> MinuteRange:
    return MinuteRange(first * MINUTE, end * MINUTE)


def test_pages_are_the_newest_first_and_never_longer_than_an_answer():
    cut = pages([minutes(0, 2500), minutes(9000, 9001)])
    assert cut == [
        minutes(9000, 9001), minutes(2000, 2500), minutes(1000, 2000), minutes(0, 1000),
    ]  # fmt: skip


def test_batches_hold_no_more_minutes_than_a_transaction_may():
    grouped = batches(pages([minutes(0, 2500)]), 2000)
    assert grouped == [[minutes(2000, 2500), minutes(1000, 2000)], [minutes(0, 1000)]]


def test_holes_are_what_no_row_covers_off_grid_opens_included():
    opens = [1 * MINUTE, 2 * MINUTE + 14_789, 5 * MINUTE, 99 * MINUTE]
    assert holes(minutes(0, 8), opens) == [minutes(0, 1), minutes(3, 5), minutes(6, 8)]


def test_an_empty_answer_is_one_hole():
    assert holes(minutes(3, 5), []) == [minutes(3, 5)]


SETS = st.sets(st.integers(min_value=0, max_value=60))


@given(SETS, st.integers(0, 60), st.integers(0, 60))
def test_holes_and_rows_together_are_the_whole_span(opens, one, other):
    span = minutes(min(one, other), max(one, other))
    lacking = {
        minute
        for hole in holes(span, (m * MINUTE for m in opens))
        for minute in range(hole.from_ms // MINUTE, hole.to_ms // MINUTE)
    }
    wanted = set(range(min(one, other), max(one, other)))
    assert lacking == wanted - opens


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=6))
def test_subtracting_ranges_leaves_exactly_the_other_minutes(parts):
    known = [minutes(min(p), max(p)) for p in parts]
    covered = {m for p in parts for m in range(min(p), max(p))}
    left = {
        minute
        for part in subtract(minutes(0, 40), known)
        for minute in range(part.from_ms // MINUTE, part.to_ms // MINUTE)
    }
    assert left == set(range(40)) - covered
