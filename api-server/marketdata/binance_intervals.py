# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Binance's candle widths and time zones, as timeframes. Pure."""

import msgspec

from linkora.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, TIMEFRAMES, Timeframe

SECOND = "1s"
ASIA = "@+08:00"
ASIA_MS = 8 * HOUR_MS
# An offset that is no multiple of this needs one-minute rows: too many for what is wider than ...
QUARTER_MS = 15 * MINUTE_MS
# ... this.
MAX_WIDTH_OF_MINUTES_MS = 4 * HOUR_MS


class FoldedFrame(Timeframe, frozen=True):
    """A width or a grid that no table has: its candles are folded from the ones in ``table``.

    Attributes:
        shift_ms: How far local time is ahead of UTC: buckets open on the local grid.
    """

    shift_ms: int = 0

    def open_ms(self, time_ms: int) -> int:
        """Return the open time of the candle that holds ``time_ms`` (Unix ms, UTC)."""
        return Timeframe.open_ms(self, time_ms + self.shift_ms) - self.shift_ms

    def next_open_ms(self, open_ms: int) -> int:
        """Return the open time of the candle after the one that opens at ``open_ms``."""
        return Timeframe.next_open_ms(self, open_ms + self.shift_ms) - self.shift_ms


# Four widths that only Binance has; ``table`` is that of the candles which they are made of.
WIDER = {
    "6h": FoldedFrame("6H", TIMEFRAMES["3H"].table, 6 * HOUR_MS, "1H"),
    "8h": FoldedFrame("8H", TIMEFRAMES["4H"].table, 8 * HOUR_MS, "1H"),
    "12h": FoldedFrame("12H", TIMEFRAMES["4H"].table, 12 * HOUR_MS, "1H"),
    "3d": FoldedFrame("3D", TIMEFRAMES["1D"].table, 3 * DAY_MS, "1D"),
}
# All of Binance's except ``1s``, which is made of trades.
INTERVALS: dict[str, Timeframe] = {
    **{f"{n}m": TIMEFRAMES[str(n)] for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": TIMEFRAMES[f"{n}H"] for n in (1, 2, 4)},
    "1d": TIMEFRAMES["1D"],
    "1w": TIMEFRAMES["1W"],
    "1M": TIMEFRAMES["1M"],
    **WIDER,
}
# What can be folded, the widest first.
_PARTS = sorted(
    (frame for frame in TIMEFRAMES.values() if frame.width_ms <= DAY_MS),
    key=lambda frame: -frame.width_ms,
)


def in_zone(frame: Timeframe, shift_ms: int) -> Timeframe | None:
    """Return ``frame`` on the grid of local time that is ``shift_ms`` ahead of UTC.

    Returns:
        ``None`` if that could only be made of too many one-minute candles.
    """
    is_month = frame.name == TIMEFRAMES["1M"].name
    grid_ms = DAY_MS if is_month else frame.width_ms
    if not (shift_ms if is_month else shift_ms % grid_ms):
        return frame
    if shift_ms % QUARTER_MS and frame.width_ms > MAX_WIDTH_OF_MINUTES_MS:
        return None
    part = next(p for p in _PARTS if not (grid_ms % p.width_ms or shift_ms % p.width_ms))
    return FoldedFrame(frame.name, part.table, frame.width_ms, frame.parent, shift_ms)


def _in_asia(name: str) -> Timeframe:
    """Return what the stream ``@kline_<name>@+08:00`` tells, under a name of its own."""
    zoned = in_zone(INTERVALS[name], ASIA_MS)
    assert isinstance(zoned, FoldedFrame)  # noqa: S101 - for the type; the three below are
    return msgspec.structs.replace(zoned, name=zoned.name + ASIA)


# Binance's streams know one zone besides UTC. Three days, weeks and months on its grid would need
# hours of more than two days in memory.
ZONED = {name + ASIA: _in_asia(name) for name in ("6h", "12h", "1d")}
# What streams tell, by the name of the interval. Where the zone does not matter both names do.
STREAMED: dict[str, Timeframe] = {
    **INTERVALS,
    **ZONED,
    **{name + ASIA: frame for name, frame in INTERVALS.items() if in_zone(frame, ASIA_MS) == frame},
}
# The names under which a frame's candles are told.
INTERVALS_OF: dict[str, list[str]] = {}
for _name, _frame in STREAMED.items():
    INTERVALS_OF.setdefault(_frame.name, []).append(_name)
