# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which minutes of a symbol are known to be closed, and which should be by now. Pure."""

from linkora.timeframes import MINUTE_MS


class Frontier:
    """The first minute of one symbol whose close is not known yet; all before it are.

    Args:
        from_ms: The first minute that is watched; earlier ones are history's matter.
    """

    def __init__(self, from_ms: int) -> None:
        self.first_unknown_ms = from_ms
        self._known_ahead: set[int] = set()

    def close(self, open_ms: int) -> None:
        """Note that the minute that opens at ``open_ms`` is closed (or accounted for)."""
        if open_ms >= self.first_unknown_ms:
            self._known_ahead.add(open_ms)
        while self.first_unknown_ms in self._known_ahead:
            self._known_ahead.remove(self.first_unknown_ms)
            self.first_unknown_ms += MINUTE_MS

    def overdue(self, now_ms: int, patience_ms: int) -> tuple[int, int] | None:
        """Return ``(first, last)`` opens of the minutes that ended ``patience_ms`` ago or earlier.

        ``None`` if every such minute is known to be closed.
        """
        ended = now_ms - patience_ms
        last_ms = ended - ended % MINUTE_MS - MINUTE_MS
        if last_ms < self.first_unknown_ms:
            return None
        return self.first_unknown_ms, last_ms

    def is_known(self, open_ms: int) -> bool:
        """Return whether the close of that minute is known."""
        return open_ms < self.first_unknown_ms or open_ms in self._known_ahead
