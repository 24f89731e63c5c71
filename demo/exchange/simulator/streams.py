# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Names of streams, such as ``btcusdt@kline_1m`` or ``btcusdt@depth20@100ms``."""

import re

import msgspec

from simulator.answers import RefusalError
from simulator.intervals import INTERVALS, Interval
from simulator.params import parse_zone

_KLINE = re.compile(r"^kline_(\w+?)(?:@([+-]\d\d?:\d\d))?$")
_DEPTH = re.compile(r"^depth(5|10|20)?(?:@(100ms|1000ms))?$")
KLINE_EVERY_MS = 2_000
SECOND_KLINE_EVERY_MS = 1_000
FAST_DEPTH_MS, SLOW_DEPTH_MS = 100, 1_000


class Stream(msgspec.Struct, frozen=True):
    """A stream.

    Attributes:
        name: As it was asked for.
        symbol: Upper-case symbol.
        kind: ``kline``, ``depth`` (diffs), ``partial`` (top levels), ``trade``, ``aggTrade`` or
            ``bookTicker``.
        every_ms: Time between two messages; 0 where each event is one.
        interval: Of klines.
        zone_ms: What the klines' time zone is ahead of UTC.
        depth: Levels of a partial book.
    """

    name: str
    symbol: str
    kind: str
    every_ms: int = 0
    interval: Interval | None = None
    zone_ms: int = 0
    depth: int = 0


def parse_stream(name: str) -> Stream | None:
    """Return the stream of that name, ``None`` if there is no such kind or it is not lower case.

    The real exchange accepts unknown names as well, and never sends anything for them.
    """
    symbol, _, kind = name.partition("@")
    if symbol != symbol.lower():
        return None
    symbol = symbol.upper()
    if kind in ("trade", "aggTrade", "bookTicker"):
        return Stream(name, symbol, kind)
    if match := _DEPTH.match(kind):
        every_ms = FAST_DEPTH_MS if match[2] == "100ms" else SLOW_DEPTH_MS
        if match[1]:
            return Stream(name, symbol, "partial", every_ms, depth=int(match[1]))
        return Stream(name, symbol, "depth", every_ms)
    return _parse_kline(name, symbol, kind)


def _parse_kline(name: str, symbol: str, kind: str) -> Stream | None:
    match = _KLINE.match(kind)
    if match is None or match[1] not in INTERVALS:
        return None
    try:
        zone_ms = parse_zone(match[2] or "0")
    except RefusalError:
        return None
    every_ms = SECOND_KLINE_EVERY_MS if match[1] == "1s" else KLINE_EVERY_MS
    return Stream(name, symbol, "kline", every_ms, INTERVALS[match[1]], zone_ms)
