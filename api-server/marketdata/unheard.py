# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which stored minutes changed while no news of them was heard: missed closings, corrections.

Each minute's row says when it was written. To read all of years for that would take seconds, so a
mark of each calendar month is kept: only months whose mark is another one are looked into, only for
what was written since the symbol was last heard of. Minutes that were found before are left out.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec

from linkora.timeframes import TIMEFRAMES

# A message is published after its commit, and a row's time is that of its transaction's begin:
# what was heard last may be younger than something that was not. The collector's statements end
# after five minutes at the latest.
MARGIN_S = 600.0
# Two weeks of minutes; history that is loaded meanwhile can be more, and is not news.
MAX_MINUTES = 20_000
_MONTH = TIMEFRAMES["1M"]


class Store(Protocol):
    """What is read. Every method raises ``TransientError`` while the database is away."""

    async def months(self, symbol: str) -> dict[int, str]:
        """Return a mark of each calendar month, by its open time in Unix ms."""

    async def changed_minutes(
        self, symbol: str, start_ms: int, end_ms: int, *, age_s: float, limit: int
    ) -> list[tuple[int, int]]:
        """Return the newest minutes of a span that were written in the last ``age_s``."""


class Look(msgspec.Struct, frozen=True):
    """What one look found.

    Attributes:
        minutes: Open times of the minutes that changed unheard, Unix ms.
        months: The months' marks.
        found: All minutes written lately, with the times of their writing.
    """

    minutes: frozenset[int]
    months: dict[int, str]
    found: frozenset[tuple[int, int]]


class Unheard:
    """Finds them, symbol by symbol. Times in seconds are of any clock that only goes forward."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._heard_s: dict[str, float] = {}
        self._last: dict[str, Look] = {}

    def hear(self, symbol: str, now_s: float) -> None:
        """Note that a message of ``symbol`` came, and that none before it was missed."""
        self._heard_s[symbol] = now_s

    async def look(self, symbol: str, now_s: float, *, is_followed: bool) -> Look:
        """Return what changed unheard since the last look that was settled.

        Args:
            symbol: Whose minutes.
            now_s: The present.
            is_followed: False if nobody would be told: then only the marks are read.

        Raises:
            TransientError: If the database is away.
        """
        months = await self._store.months(symbol)
        last = self._last.get(symbol)
        if last is None or not is_followed:
            return Look(frozenset(), months, frozenset())
        found: set[tuple[int, int]] = set()
        for start_ms, end_ms in _changed_spans(last.months, months):
            found.update(
                await self._store.changed_minutes(
                    *(symbol, start_ms, end_ms),
                    age_s=now_s - self._heard_s[symbol] + MARGIN_S,
                    limit=MAX_MINUTES - len(found),
                )
            )
            if len(found) >= MAX_MINUTES:
                break
        news = frozenset(open_ms for open_ms, _ in found - last.found)
        return Look(news, months, frozenset(found))

    def settle(self, symbol: str, look: Look, began_s: float) -> None:
        """Note that what ``look`` found has been told.

        Args:
            symbol: Whose.
            look: What was found.
            began_s: When the symbol began to be read, before the look: it was heard of up to then.
        """
        self._last[symbol] = look
        self._heard_s[symbol] = began_s


def _changed_spans(old: Mapping[int, str], new: Mapping[int, str]) -> Iterator[tuple[int, int]]:
    """Yield the months that have another mark, the newest first."""
    for open_ms in sorted(new, reverse=True):
        if new[open_ms] != old.get(open_ms):
            yield open_ms, _MONTH.next_open_ms(open_ms)
