# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Request weights, and the limits and bans that come with them. Pure: ``now_ms`` is passed in."""

import math

import msgspec

MINUTE_MS = 60_000
LONGEST_BAN_S = 259_200
_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1_000, 50))
_DEEPEST_WEIGHT = 250


def depth_weight(limit: int) -> int:
    """Return the weight of ``/api/v3/depth`` with that limit."""
    return next((w for largest, w in _DEPTH_WEIGHTS if limit <= largest), _DEEPEST_WEIGHT)


class Limits(msgspec.Struct, frozen=True):
    """What an address may do; meanings and units as in ``Switches``."""

    weight_limit: int
    ignored_429_limit: int
    first_ban_s: int


class Charge(msgspec.Struct, frozen=True):
    """What became of a request at the meter.

    Attributes:
        status: 200, 429 or 418.
        used: Weight used in this minute, for ``X-MBX-USED-WEIGHT-1M``.
        retry_after_s: When to come back, 0 for status 200.
        banned_until_ms: End of the ban, 0 without one.
        ignored: What the address had been told already and ignored: "limit", "ban" or "".
    """

    status: int
    used: int
    retry_after_s: int = 0
    banned_until_ms: int = 0
    ignored: str = ""


class Meter:
    """The weight used by one address."""

    def __init__(self) -> None:
        self._minute = -1
        self._used = 0
        self._refused = 0
        self._bans = 0
        self._limited_until_ms = 0
        self.banned_until_ms = 0

    def charge(self, weight: int, limits: Limits, now_ms: int) -> Charge:
        """Add a request's weight and say whether it is served."""
        if now_ms // MINUTE_MS != self._minute:
            self._minute = now_ms // MINUTE_MS
            self._used = self._refused = 0
        if now_ms < self.banned_until_ms:
            return self._ban_charge(now_ms, "ban")
        self._used += weight
        is_limited = now_ms < self._limited_until_ms
        if not is_limited and self._used <= limits.weight_limit:
            return Charge(200, self._used)
        ignored = "limit" if self._refused > 0 or is_limited else ""
        self._refused += 1
        if self._refused > limits.ignored_429_limit + 1:
            self.ban(min(limits.first_ban_s << self._bans, LONGEST_BAN_S), now_ms)
            self._bans = min(self._bans + 1, 20)
            return self._ban_charge(now_ms, ignored)
        until_ms = (self._minute + 1) * MINUTE_MS
        if self._used <= limits.weight_limit:
            until_ms = self._limited_until_ms
        return Charge(429, self._used, _seconds(until_ms - now_ms), ignored=ignored)

    def limit(self, seconds: int, now_ms: int) -> Charge:
        """Answer 429 for that long, whatever the weight used."""
        self._limited_until_ms = now_ms + seconds * 1_000
        return Charge(429, self._used, seconds)

    def ban(self, seconds: int, now_ms: int) -> Charge:
        """Answer 418 for that long."""
        self.banned_until_ms = now_ms + seconds * 1_000
        return self._ban_charge(now_ms, "")

    def _ban_charge(self, now_ms: int, ignored: str) -> Charge:
        wait_s = _seconds(self.banned_until_ms - now_ms)
        return Charge(418, self._used, wait_s, self.banned_until_ms, ignored)


def _seconds(milliseconds: int) -> int:
    return max(1, math.ceil(milliseconds / 1_000))
