# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What is known of one symbol's newest minutes, and what REST should show of them by now. Pure."""

from collector.closing import Frontier
from collector.running import RunningCandle
from linkora.market import Candle
from linkora.timeframes import MINUTE_MS, floor_minute_ms

# A row of REST may lag behind the stream for this long after the minute's end.
REST_LAG_MS = 60_000
REMEMBERED_MINUTES = 10


class SymbolState:
    """What is known of one symbol's newest minutes.

    Attributes:
        running: The minute that runs.
        frontier: Which minutes are closed.
        closed: The newest closes, by their open times.
        told: What of the running minute was published last, ``stored`` what was written.
        heard_at: When a stream told of it last, seconds of the monotonic clock.
        is_verified: Whether its last minutes need not be read again.

    Args:
        from_ms: The first minute that is watched.
    """

    def __init__(self, from_ms: int) -> None:
        self.running = RunningCandle()
        self.frontier = Frontier(from_ms)
        self.closed: dict[int, Candle] = {}
        self.told: Candle | None = None
        self.stored: Candle | None = None
        self.heard_at = float("-inf")
        self.is_verified = False

    def remember(self, candle: Candle) -> None:
        """Keep a close, so that rows can be compared with it; the oldest make room."""
        self.closed[candle.open_time_ms] = candle
        while len(self.closed) > REMEMBERED_MINUTES:
            del self.closed[min(self.closed)]

    def expected_ms(self, asked_ms: int, patience_ms: int) -> int:
        """Return the newest minute that an answer of REST should show, -1 if there is none.

        Args:
            asked_ms: When it was asked for.
            patience_ms: Where a close is not known so long after its minute, it is chased anyway.
        """
        ended_ms = floor_minute_ms(asked_ms)
        if asked_ms - ended_ms < patience_ms:
            return ended_ms - MINUTE_MS
        newest_ms = max(self.closed, default=-1)
        is_recent = newest_ms >= 0 and asked_ms - newest_ms - MINUTE_MS < REST_LAG_MS
        return newest_ms if is_recent else -1
