# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The exchange's clock, as far as we can be sure of it."""

import time

from linkora.timeframes import MINUTE_MS

# Until the exchange has told its time the local clock stands in.


class ExchangeClock:
    """Tells the exchange's time from its last answer and the time elapsed since.

    The local wall clock is not used once the exchange has answered, so that a wrong or stepped
    one does no harm. The estimate never runs ahead of the exchange: the answer's journey back is
    not added.
    """

    def __init__(self) -> None:
        self._base_ms = time.time_ns() // 1_000_000
        self._mark_ns = time.monotonic_ns()
        self.is_set = False

    def set(self, server_time_ms: int) -> None:
        """Take over the time that the exchange just answered, Unix ms."""
        self._base_ms = server_time_ms
        self._mark_ns = time.monotonic_ns()
        self.is_set = True

    def now_ms(self) -> int:
        """Return the exchange's time, Unix ms."""
        return self._base_ms + (time.monotonic_ns() - self._mark_ns) // 1_000_000

    def minute_ms(self) -> int:
        """Return the open time of the running minute."""
        now = self.now_ms()
        return now - now % MINUTE_MS
