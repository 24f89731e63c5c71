# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from collector.closing import Frontier

MINUTE = 60_000


def test_nothing_is_overdue_before_patience_ends():
    frontier = Frontier(10 * MINUTE)
    assert frontier.overdue(11 * MINUTE + 4_999, 5_000) is None
    assert frontier.overdue(11 * MINUTE + 5_000, 5_000) == (10 * MINUTE, 10 * MINUTE)


def test_a_close_out_of_order_is_kept_until_the_hole_before_it_closes():
    frontier = Frontier(10 * MINUTE)
    frontier.close(11 * MINUTE)
    assert frontier.is_known(11 * MINUTE)
    assert not frontier.is_known(10 * MINUTE)
    assert frontier.overdue(13 * MINUTE, 5_000) == (10 * MINUTE, 11 * MINUTE)
    frontier.close(10 * MINUTE)
    assert frontier.first_unknown_ms == 12 * MINUTE


def test_a_long_absence_is_overdue_as_one_span():
    frontier = Frontier(10 * MINUTE)
    assert frontier.overdue(70 * MINUTE, 0) == (10 * MINUTE, 69 * MINUTE)
