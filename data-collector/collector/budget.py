# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""How much of the exchange's request budget is left, and when the next request may go.

The exchange counts the weight of all requests of an address in each minute of its own clock
(REQUEST_WEIGHT; every answer's ``X-MBX-USED-WEIGHT-1M`` tells the count). Whoever goes on after
429 is banned (418), each time longer. All callers share one budget.
"""

from linkora.timeframes import MINUTE_MS

# Until exchangeInfo has told the limit: the smallest one that the exchange has ever had.
FIRST_LIMIT = 1200
# Background work leaves this part of our share to the live candles.
LIVE_RESERVE = 0.2


class RequestBudget:
    """The weight used in the running minute, and the pauses that the exchange demanded.

    Args:
        share: The part of the exchange's limit that we allow ourselves, above 0 to 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._limit = FIRST_LIMIT
        self._minute = -1
        self._used = 0
        self._in_flight = 0
        self.pause_until_ms = 0

    @property
    def used_weight(self) -> int:
        """Weight that counts against the running minute, as far as we know."""
        return self._used

    @property
    def allowed_weight(self) -> int:
        """Weight a minute that we allow ourselves."""
        return max(1, int(self._limit * self._share))

    def set_limit(self, weight_per_minute: int) -> None:
        """Take over the limit that exchangeInfo states."""
        self._limit = weight_per_minute

    def delay_ms(self, weight: int, now_ms: int, *, is_background: bool) -> int:
        """Return how long to wait before a request of ``weight`` may go; 0 means now."""
        if now_ms < self.pause_until_ms:
            return self.pause_until_ms - now_ms
        self._roll(now_ms)
        allowed = self.allowed_weight
        if is_background:
            allowed = max(1, int(allowed * (1 - LIVE_RESERVE)))
        # A request dearer than the whole share still goes, alone in its minute.
        if self._used == 0 or self._used + weight <= allowed:
            return 0
        return (self._minute + 1) * MINUTE_MS - now_ms

    def spend(self, weight: int, now_ms: int) -> None:
        """Count a request that goes now; in flight until ``answered``."""
        self._roll(now_ms)
        self._used += weight
        self._in_flight += weight

    def answered(self, weight: int, reported: int | None, now_ms: int, sent_ms: int) -> None:
        """Take over the exchange's own count, unless it may be of a minute that is over.

        Args:
            weight: Of the request.
            reported: The exchange's count, if the answer told it.
            now_ms: The present.
            sent_ms: When the request went.
        """
        self._in_flight -= weight
        self._roll(now_ms)
        if reported is not None and sent_ms // MINUTE_MS == now_ms // MINUTE_MS:
            self._used = max(self._used, reported)

    def pause(self, until_ms: int) -> None:
        """Send nothing before ``until_ms`` (exchange clock); the longest demand counts."""
        self.pause_until_ms = max(self.pause_until_ms, until_ms)

    def _roll(self, now_ms: int) -> None:
        minute = now_ms // MINUTE_MS
        if minute != self._minute:
            self._minute = minute
            # What is under way may be counted in the new minute.
            self._used = self._in_flight
