# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Waiting for a neighbour: exponential backoff with full jitter, and the one helper that retries.

Full jitter spreads the retries of many clients evenly over the whole delay, so that a neighbour
that comes back is not hit by all of them at once.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from linkora.errors import TransientError

T = TypeVar("T")

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 15.0


class Backoff:
    """The delays of one series of tries.

    Args:
        first_s: Upper bound of the first delay, seconds.
        longest_s: Upper bound of every delay, seconds.
        rng: Source of the jitter.
    """

    def __init__(
        self,
        first_s: float = FIRST_DELAY_S,
        longest_s: float = LONGEST_DELAY_S,
        rng: random.Random | None = None,
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self.failures = 0

    def next_delay_s(self, at_least_s: float | None = None) -> float:
        """Return how long to wait after one more failure, never less than ``at_least_s``."""
        bound = min(self._longest_s, self._first_s * 2 ** min(self.failures, 32))
        self.failures += 1
        return max(self._rng.uniform(0, bound), at_least_s or 0.0)

    def reset(self) -> None:
        """Start over, after a success."""
        self.failures = 0


async def retry(
    call: Callable[[], Awaitable[T]],
    *,
    on_error: Callable[[TransientError], None],
    backoff: Backoff | None = None,
) -> T:
    """Return what ``call`` returns, after as many tries as it takes.

    Args:
        call: Makes one try; ``TransientError`` means "later", any other error rises.
        on_error: Told of each failed try before the wait: for ``/health``, logs and metrics.
        backoff: The delays; a fresh default series if not given.
    """
    delays = backoff or Backoff()
    while True:
        try:
            result = await call()
        except TransientError as error:
            on_error(error)
            await asyncio.sleep(delays.next_delay_s(error.retry_after_s))
        else:
            delays.reset()
            return result
