# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from collector.budget import RequestBudget

MINUTE = 60_000
NOW = 100 * MINUTE + 10_000


def budget(share: float = 0.5, limit: int = 100) -> RequestBudget:
    made = RequestBudget(share)
    made.set_limit(limit)
    return made


def test_requests_go_until_our_share_of_the_minute_is_used():
    made = budget()
    for _ in range(25):
        assert made.delay_ms(2, NOW, is_background=False) == 0
        made.spend(2, NOW)
    assert made.delay_ms(2, NOW, is_background=False) == 50_000


def test_a_new_minute_of_the_exchange_starts_at_zero():
    made = budget()
    made.spend(50, NOW)
    made.answered(50, 50, NOW, NOW)
    assert made.delay_ms(2, NOW + 50_000, is_background=False) == 0


def test_the_exchanges_own_count_is_taken_over_when_it_is_higher():
    made = budget()
    made.spend(2, NOW)
    made.answered(2, 49, NOW, NOW)
    assert made.delay_ms(2, NOW, is_background=False) > 0
    made.answered(0, 10, NOW, NOW)
    assert made.used_weight == 49


def test_requests_under_way_count_in_the_next_minute_too():
    made = budget()
    made.spend(40, NOW)
    assert made.delay_ms(20, NOW + 50_000, is_background=False) > 0
    made.answered(40, None, NOW + 50_000, NOW)


def test_background_work_leaves_a_reserve_to_the_live_candles():
    made = budget()
    made.spend(40, NOW)
    made.answered(40, 40, NOW, NOW)
    assert made.delay_ms(2, NOW, is_background=True) > 0
    assert made.delay_ms(2, NOW, is_background=False) == 0


def test_nothing_goes_before_the_end_of_a_pause_and_the_longest_counts():
    made = budget()
    made.pause(NOW + 5_000)
    made.pause(NOW + 1_000)
    assert made.delay_ms(1, NOW, is_background=False) == 5_000
    assert made.delay_ms(1, NOW + 4_999, is_background=False) == 1
    assert made.delay_ms(1, NOW + 5_000, is_background=False) == 0


def test_a_request_dearer_than_the_share_goes_alone():
    assert budget(share=0.1).delay_ms(50, NOW, is_background=False) == 0


def test_the_count_of_a_minute_that_is_over_says_nothing_of_the_next():
    made = budget()
    made.spend(2, NOW)
    made.answered(2, 49, NOW + 50_000, NOW)
    assert made.used_weight <= 2
