# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import pytest

from linkora import limits
from linkora.limits import RateLimiter
from linkora.pubsub import open_redis
from linkora.settings import RedisSettings


async def test_addresses_beyond_the_bound_take_no_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 10)
    async with open_redis(RedisSettings(port=1)) as redis:
        limiter = RateLimiter(redis, "test", per_minute=2)
        for number in range(100):
            assert limiter.take(f"10.0.0.{number}") is None
        assert len(limiter._budgets) <= 10
        assert limiter.take("10.0.0.99") is None
        assert limiter.take("10.0.0.99") is not None
