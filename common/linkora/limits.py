# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""How many requests an address may make, counted in Redis so that all replicas count together.

A request does not wait for Redis: each process spends what was left at the last synchronisation
and reports what it has spent twice a second. So N processes may together let through up to half a
second's requests too many, and a request costs microseconds. While Redis is away each process
counts alone.
"""

import asyncio
import math
import time
from collections.abc import Sequence

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from starlette.types import ASGIApp, Receive, Scope, Send

from linkora.errors import RequestError, TransientError
from linkora.http import Refusal, plain_refusal
from linkora.pubsub import transient_errors

log = structlog.get_logger(__name__)

WINDOW_S = 60.0
SYNC_INTERVAL_S = 0.5
MAX_ADDRESSES = 100_000
# So many addresses are reported in one round trip; Redis serves nobody else meanwhile, 1 ms or so.
ADDRESSES_AT_ONCE = 500
KEY_PREFIX = "rate_limit"
# Adds what was spent to each address' count, and tells the count and when it ends, in ms. Atomic:
# a count that is left without an end would lock an address out for ever. Works from Redis 2.6 on.
_COUNT = """
local told = {}
for i, key in ipairs(KEYS) do
    told[2 * i - 1] = redis.call('incrby', key, ARGV[i + 1])
    told[2 * i] = redis.call('pttl', key)
    if told[2 * i] < 0 then
        redis.call('pexpire', key, ARGV[1])
        told[2 * i] = tonumber(ARGV[1])
    end
end
return told
"""


class _Budget(msgspec.Struct):
    """What one address may still do.

    Attributes:
        left: Requests until ``ends_at_s``.
        ends_at_s: When the window ends, Unix seconds.
        spent: Requests that Redis does not know of yet.
    """

    left: int
    ends_at_s: float
    spent: int = 0


class RateLimiter:
    """Lets ``per_minute`` requests of an address through in each minute.

    Args:
        redis: Where replicas count together.
        service: The service's name: each service has a count of its own.
        per_minute: The most requests a minute; 0 lets everything through.
    """

    def __init__(self, redis: Redis, service: str, per_minute: int) -> None:
        self.per_minute = per_minute
        self._service = service
        self._count = redis.register_script(_COUNT)
        self._budgets: dict[str, _Budget] = {}
        self._refused = ""

    def take(self, address: str) -> int | None:
        """Count one request of ``address``.

        Returns:
            ``None`` if it may go on, else the whole seconds after which the next one may.
        """
        if not self.per_minute:
            return None
        now_s = time.time()
        budget = self._budgets.get(address)
        if budget is None or budget.ends_at_s <= now_s:
            if budget is None and len(self._budgets) >= MAX_ADDRESSES:
                del self._budgets[next(iter(self._budgets))]  # the one known for longest
            budget = _Budget(self.per_minute, now_s + WINDOW_S, budget.spent if budget else 0)
            self._budgets[address] = budget
        if budget.left <= 0:
            return max(1, math.ceil(budget.ends_at_s - now_s))
        budget.left -= 1
        budget.spent += 1
        return None

    async def keep(self) -> None:
        """Synchronise with Redis, for ever."""
        while True:
            await asyncio.sleep(SYNC_INTERVAL_S)
            self._forget(time.time())
            spent = [address for address, budget in self._budgets.items() if budget.spent]
            try:
                for start in range(0, len(spent), ADDRESSES_AT_ONCE):
                    await self._report(spent[start : start + ADDRESSES_AT_ONCE])
            except TransientError as error:
                self._note(error)

    def _note(self, error: TransientError) -> None:
        """Log why nothing is shared: what Redis refuses is an operator's matter, told once."""
        if not isinstance(error.__cause__, ResponseError):
            log.debug("rate_limits_not_shared", reason=str(error))
        elif str(error) != self._refused:
            self._refused = str(error)
            log.warning("rate_limits_refused", reason=self._refused)

    async def _report(self, addresses: Sequence[str]) -> None:
        """Tell Redis what these addresses have spent, in one round trip, and learn what is left."""
        budgets = [(each, self._budgets[each]) for each in addresses if each in self._budgets]
        spent = [budget.spent for _, budget in budgets]
        keys = [f"{KEY_PREFIX}:{self._service}:{address}" for address, _ in budgets]
        with transient_errors():
            told = await self._count(keys, [int(WINDOW_S * 1000), *spent])
        if self._refused:
            self._refused = ""
            log.info("rate_limits_shared")
        now_s = time.time()
        for place, (_, budget) in enumerate(budgets):
            budget.ends_at_s = now_s + told[2 * place + 1] / 1000
            budget.spent -= spent[place]
            budget.left = max(0, self.per_minute - told[2 * place] - budget.spent)

    def _forget(self, now_s: float) -> None:
        for address, budget in list(self._budgets.items()):
            if budget.ends_at_s <= now_s and not budget.spent:
                del self._budgets[address]


class RateLimitMiddleware:
    """Answers 429 with ``Retry-After`` to who asks too often; sockets have limits of their own."""

    def __init__(
        self,
        app: ASGIApp,
        limiter: RateLimiter,
        exempt: frozenset[str],
        refusal: Refusal = plain_refusal,
    ) -> None:
        self._app = app
        self._limiter = limiter
        self._exempt = exempt
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request, then pass it on or refuse it."""
        if scope["type"] != "http" or scope["path"] in self._exempt:
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        wait_s = self._limiter.take(client[0] if client else "")
        if wait_s is None:
            await self._app(scope, receive, send)
            return
        text = f"Too many requests: at most {self._limiter.per_minute} a minute"
        answer = self._refusal(scope["path"], RequestError(429, text, wait_s))
        await answer(scope, receive, send)
