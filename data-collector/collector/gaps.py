# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which minutes are missing, and which requests bring them."""

from collections.abc import Iterable, Sequence

import msgspec

from linkora.timeframes import DAY_MS, MINUTE_MS, floor_minute_ms

PAGE_MINUTES = 1000  # the most rows that a klines answer has


class MinuteRange(msgspec.Struct, frozen=True, order=True):
    """The minutes that open from ``from_ms`` on and before ``to_ms``, both on the grid."""

    from_ms: int
    to_ms: int

    @property
    def minutes(self) -> int:
        """How many minutes it has."""
        return (self.to_ms - self.from_ms) // MINUTE_MS


def pages(ranges: Iterable[MinuteRange], page_minutes: int = PAGE_MINUTES) -> list[MinuteRange]:
    """Return the ranges cut into pages, the newest first, each as long as an answer can be."""
    cut: list[MinuteRange] = []
    for span in ranges:
        step = page_minutes * MINUTE_MS
        cut += [
            MinuteRange(start, min(start + step, span.to_ms))
            for start in range(span.from_ms, span.to_ms, step)
        ]
    return sorted(cut, reverse=True)


def batches(pages_: Sequence[MinuteRange], max_minutes: int) -> list[list[MinuteRange]]:
    """Return the pages in groups that are stored together, each of at most ``max_minutes``."""
    grouped: list[list[MinuteRange]] = []
    size = 0
    for page in pages_:
        if not grouped or size + page.minutes > max_minutes:
            grouped.append([])
            size = 0
        grouped[-1].append(page)
        size += page.minutes
    return grouped


def split_at(ranges: Iterable[MinuteRange], cut_ms: int) -> tuple[list[MinuteRange], ...]:
    """Return the parts of the ranges before ``cut_ms`` and those from it on."""
    listed = list(ranges)
    before = [MinuteRange(r.from_ms, min(r.to_ms, cut_ms)) for r in listed if r.from_ms < cut_ms]
    after = [MinuteRange(max(r.from_ms, cut_ms), r.to_ms) for r in listed if r.to_ms > cut_ms]
    return before, after


def whole_days(ranges: Iterable[MinuteRange]) -> list[int]:
    """Return the open times of the UTC days that lie wholly in one of the ranges, newest first."""
    days: list[int] = []
    for span in ranges:
        first_ms = -(-span.from_ms // DAY_MS) * DAY_MS
        days += range(first_ms, span.to_ms - DAY_MS + 1, DAY_MS)
    return sorted(days, reverse=True)


def holes(span: MinuteRange, opens_ms: Iterable[int]) -> list[MinuteRange]:
    """Return the parts of ``span`` in which no minute of ``opens_ms`` lies, in order."""
    found: list[MinuteRange] = []
    expected_ms = span.from_ms
    for open_ms in sorted({floor_minute_ms(value) for value in opens_ms}):
        if not span.from_ms <= open_ms < span.to_ms:
            continue
        if open_ms > expected_ms:
            found.append(MinuteRange(expected_ms, open_ms))
        expected_ms = open_ms + MINUTE_MS
    if expected_ms < span.to_ms:
        found.append(MinuteRange(expected_ms, span.to_ms))
    return found


def subtract(span: MinuteRange, known: Iterable[MinuteRange]) -> list[MinuteRange]:
    """Return the parts of ``span`` that no range of ``known`` covers, in order."""
    left: list[MinuteRange] = []
    start_ms = span.from_ms
    for part in sorted(known):
        if part.to_ms <= start_ms or part.from_ms >= span.to_ms:
            continue
        if part.from_ms > start_ms:
            left.append(MinuteRange(start_ms, part.from_ms))
        start_ms = part.to_ms
    if start_ms < span.to_ms:
        left.append(MinuteRange(start_ms, span.to_ms))
    return left
