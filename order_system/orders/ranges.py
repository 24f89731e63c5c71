# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""How many blocks to ask for at once: by what the provider takes and how many logs come. Pure."""


class RangeSizer:
    """Adapts the size of ranges.

    Args:
        first: Blocks of the first range.
        most: Blocks of the largest range.
        logs_target: Logs that a range shall hold about.
    """

    def __init__(self, first: int, most: int, logs_target: int) -> None:
        self._blocks = min(first, most)
        self._cap = most
        self._most = most
        self._logs_target = logs_target
        self._successes = 0

    @property
    def blocks(self) -> int:
        """Blocks of the next range."""
        return max(1, min(self._blocks, self._cap))

    def took(self, blocks: int, logs: int) -> None:
        """Learn from a range that came: grow or shrink towards the logs a range shall hold."""
        wanted = self._most if logs == 0 else max(1, blocks * self._logs_target // logs)
        self._blocks = min(wanted, 2 * max(self._blocks, blocks))
        self._successes += 1
        if self._successes >= 32:
            # What was too large once may have been a busy stretch: try a little more.
            self._cap = min(self._most, self._cap + max(1, self._cap // 4))
            self._successes = 0

    def refused(self, blocks: int, suggested: int | None) -> int:
        """Learn from a range that was too large, and return how many blocks to ask for instead."""
        self._cap = max(1, min(suggested or blocks // 2, blocks - 1, self._most))
        self._blocks = self._cap
        self._successes = 0
        return self._cap
