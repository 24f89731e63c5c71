# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from linkora import limits
from linkora.limits import RateLimiter
from linkora.pubsub import open_redis
from linkora.settings import RedisSettings
from testkit.redis_server import private_redis
from testkit.services import meanwhile, until


async def test_addresses_beyond_the_bound_take_no_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 10)
    async with open_redis(RedisSettings(port=1)) as redis:
        limiter = RateLimiter(redis, "test", per_minute=2)
        for number in range(100):
            assert limiter.take(f"10.0.0.{number}") is None
        assert len(limiter._budgets) <= 10
        assert limiter.take("10.0.0.99") is None
        assert limiter.take("10.0.0.99") is not None


async def test_all_addresses_are_reported_in_one_round_trip(redis_client: Redis):
    limiter = RateLimiter(redis_client, "test", per_minute=9)
    for number in range(300):
        for _ in range(1 + number % 3):
            limiter.take(f"10.0.0.{number}")
    await redis_client.config_resetstat()
    async with meanwhile(limiter.keep()):
        await until(lambda: not any(budget.spent for budget in limiter._budgets.values()))
    stats = await redis_client.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] <= 2  # one more where Redis did not know the script
    assert stats["cmdstat_incrby"]["calls"] == 300
    assert [limiter._budgets[f"10.0.0.{n}"].left for n in range(3)] == [8, 7, 6]


async def test_replicas_learn_of_each_others_requests_and_a_window_ends(redis_client: Redis):
    one, other = (RateLimiter(redis_client, "test", per_minute=5) for _ in range(2))
    async with meanwhile(one.keep()), meanwhile(other.keep()):
        for _ in range(3):
            assert one.take("10.0.0.1") is None
        assert other.take("10.0.0.1") is None
        await until(lambda: not one._budgets["10.0.0.1"].spent)
        await until(lambda: not other._budgets["10.0.0.1"].spent)
        assert one.take("10.0.0.1") is None
        await until(lambda: not one._budgets["10.0.0.1"].spent)
        wait_s = one.take("10.0.0.1")
        assert wait_s is not None
        assert 0 < wait_s <= 60
    (key,) = await redis_client.keys("rate_limit*")
    assert await redis_client.get(key) == b"5"
    assert 0 < await redis_client.pttl(key) <= 60_000


async def test_a_count_that_was_left_without_an_end_gets_one(redis_client: Redis):
    """Nobody is locked out for ever."""
    await redis_client.set("rate_limit:test:10.0.0.1", 1000)
    limiter = RateLimiter(redis_client, "test", per_minute=5)
    assert limiter.take("10.0.0.1") is None
    async with meanwhile(limiter.keep()):
        await until(lambda: not limiter._budgets["10.0.0.1"].spent)
    assert limiter.take("10.0.0.1") is not None
    assert 0 < await redis_client.pttl("rate_limit:test:10.0.0.1") <= 60_000


async def test_a_redis_that_refuses_to_count_is_told_of_once_and_so_is_its_change_of_mind(
    monkeypatch: pytest.MonkeyPatch,
):
    """Else rights that lack a command would leave each replica counting alone, unseen."""
    monkeypatch.setattr(limits, "SYNC_INTERVAL_S", 0.01)
    with private_redis() as server, capture_logs() as logs:
        async with open_redis(server.settings()) as admin, open_redis(server.settings()) as redis:
            await admin.execute_command("ACL", "SETUSER", "default", "-evalsha")
            limiter = RateLimiter(redis, "test", per_minute=9)
            limiter.take("10.0.0.1")
            async with meanwhile(limiter.keep()):
                await until(lambda: len(logs) > 0)
                async with asyncio.timeout(30):
                    while await refusals(admin) < 4:  # noqa: ASYNC110 - the other side is a server
                        await asyncio.sleep(0.05)
                await admin.execute_command("ACL", "SETUSER", "default", "+evalsha")
                await until(lambda: not limiter._budgets["10.0.0.1"].spent)
                await until(lambda: len(logs) > 1)
    told = [(line["log_level"], line["event"]) for line in logs]
    assert told == [("warning", "rate_limits_refused"), ("info", "rate_limits_shared")]
    assert "evalsha" in logs[0]["reason"]


async def refusals(redis: Redis) -> int:
    """Return how many calls Redis has refused for want of rights."""
    stats = await redis.info("errorstats")
    return int(stats["errorstat_NOPERM"]["count"])
