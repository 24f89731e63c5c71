# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""How many requests a provider gets at once: halved when it complains, grown by successes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Lets a varying number of requests through (additive increase, multiplicative decrease).

    Args:
        most: The most requests at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._inside = 0
        self._changed = asyncio.Condition()

    @property
    def limit(self) -> int:
        """How many requests may be under way now."""
        return max(1, int(self._limit))

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._inside < self.limit)
            self._inside += 1
        try:
            yield
        finally:
            async with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def slow_down(self) -> None:
        """Halve the limit: the provider has complained."""
        self._limit = max(1.0, self._limit / 2)

    def speed_up(self) -> None:
        """Grow by one request for as many successes as the limit."""
        self._limit = min(float(self._most), self._limit + 1 / self._limit)
