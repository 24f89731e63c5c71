# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import random

import pytest

from linkora.backoff import Backoff, retry
from linkora.errors import RejectedError, TransientError


def test_delays_grow_to_the_bound_and_start_over_after_a_success():
    backoff = Backoff(first_s=1, longest_s=8, rng=random.Random(7))
    bounds = [1, 2, 4, 8, 8, 8]
    assert all(0 <= backoff.next_delay_s() <= bound for bound in bounds)
    backoff.reset()
    assert backoff.next_delay_s() <= 1


def test_a_neighbours_demand_is_obeyed_whatever_the_jitter():
    assert Backoff(first_s=0.1).next_delay_s(at_least_s=30) == 30


async def test_retry_goes_on_until_the_call_succeeds():
    told = []
    answers = iter([TransientError("busy"), TransientError("busy", 0.001), "done"])

    async def call():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await retry(call, on_error=told.append, backoff=Backoff(first_s=0.001)) == "done"
    assert [str(error) for error in told] == ["busy", "busy"]


async def test_retry_lets_a_refusal_rise_at_once():
    async def call():
        raise RejectedError("no")

    with pytest.raises(RejectedError):
        await retry(call, on_error=lambda _: pytest.fail("retried"))
