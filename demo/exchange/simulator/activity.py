# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""How many trades every minute has, in closed form.

Trade ids are dense, so the number of trades before *any* minute must be known at once, without
walking there. It is built the other way round: first a growing total, then the counts as its
differences. Hour totals are a straight line plus a bounded jitter; inside an hour each minute
boundary lies at a random place of its own sixtieth. Everything is integer arithmetic.
"""

import msgspec
import numpy as np

from simulator.randomness import Int64s, derive_key, hash_positions, uniform
from simulator.symbols import ORIGIN_MS

MINUTE_MS = 60_000
ORIGIN_MINUTE = ORIGIN_MS // MINUTE_MS
_STEP = 1 << 16
_HOUR_WEIGHT = 60 * _STEP
_HOUR_JITTER = 0.8  # of an hour's mean: hours have from 20 % to 180 % of it


class Activity(msgspec.Struct, frozen=True):
    """The pace of one symbol's trading.

    Attributes:
        key: Key of its randomness.
        trades_per_minute: Mean number of trades of a minute.
        zero_trade_rate: Share of minutes that have no trade at all.
    """

    key: int
    trades_per_minute: int
    zero_trade_rate: float = 0.0

    def totals(self, first_minute: int, end_minute: int) -> Int64s:
        """Return the number of trades before each minute of [first, end], both included.

        Minutes are Unix minutes. Before the origin of the exchange there are none.
        """
        first = max(first_minute, ORIGIN_MINUTE) - ORIGIN_MINUTE
        end = max(end_minute, ORIGIN_MINUTE) - ORIGIN_MINUTE
        first_hour, end_hour = first // 60, end // 60 + 1
        hour_totals = self._hour_totals(np.arange(first_hour, end_hour + 1))
        boundaries = self._boundaries(first_hour, end_hour)
        counts = np.diff(hour_totals)[:, None]
        inside = counts * boundaries // _HOUR_WEIGHT + hour_totals[:-1, None]
        flat = inside.reshape(-1)[first - first_hour * 60 : end - first_hour * 60 + 1]
        missing = (end_minute - first_minute + 1) - len(flat)
        return np.concatenate([np.zeros(missing, np.int64), flat]) if missing else flat

    def total(self, minute: int) -> int:
        """Return the number of trades before ``minute`` (a Unix minute)."""
        return int(self.totals(minute, minute)[0])

    def _hour_totals(self, hours: Int64s) -> Int64s:
        mean = 60 * self.trades_per_minute
        jitter = hash_positions(hours, derive_key(self.key, "hour")) >> np.uint64(33)
        scaled = jitter.astype(np.int64) * int(mean * _HOUR_JITTER) >> 31
        return np.where(hours > 0, hours * mean + scaled, 0)

    def _boundaries(self, first_hour: int, end_hour: int) -> Int64s:
        """Return, per hour, where its 60 minutes start on the scale of its trades."""
        minutes = np.arange(first_hour * 60, end_hour * 60)
        jitter = hash_positions(minutes, derive_key(self.key, "minute")) >> np.uint64(48)
        places = (minutes % 60) * _STEP + jitter.astype(np.int64)
        places[::60] = 0
        if self.zero_trade_rate > 0:
            is_empty = uniform(minutes, derive_key(self.key, "zero")) < self.zero_trade_rate
            is_empty[59::60] = False  # the hour's last boundary is not ours to move
            places[1:][is_empty[:-1]] = 0
        return np.maximum.accumulate(places.reshape(-1, 60), axis=1)
