# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""When a symbol does not trade: outages of the exchange and quiet stretches of the market.

In an outage there are no klines; in a quiet stretch there are klines without trades. Facts of the
real exchange: the kline before an outage ends where the outage starts, and after some outages
klines opened off the minute grid for hours.
"""

import bisect

import msgspec
import numpy as np

from simulator.klines import Column
from simulator.randomness import Int64s

MINUTE_MS = 60_000
FOREVER_MS = 4_102_444_800_000  # 2100-01-01


class Stretch(msgspec.Struct, frozen=True, order=True):
    """A stretch of time [start_ms, end_ms), Unix ms."""

    start_ms: int
    end_ms: int


class Outage(msgspec.Struct, frozen=True, order=True):
    """A stretch without klines.

    Attributes:
        start_ms: First moment without trading; need not be on a minute.
        end_ms: First moment of trading again.
        off_grid_until_ms: Until then klines open off the grid, by what ``end_ms`` is past its
            minute; 0 for an exchange that comes back on its grid.
    """

    start_ms: int
    end_ms: int
    off_grid_until_ms: int = 0


class Interruptions(msgspec.Struct, frozen=True):
    """All interruptions of one symbol; outages are apart from each other and in order."""

    outages: tuple[Outage, ...] = ()
    quiet: tuple[Stretch, ...] = ()

    def with_outage(self, outage: Outage) -> "Interruptions":
        """Return these and one more outage; what it overlaps becomes part of it."""
        apart = [
            o for o in self.outages if o.end_ms < outage.start_ms or o.start_ms > outage.end_ms
        ]
        joined = [o for o in self.outages if o not in apart]
        outage = Outage(
            min([outage.start_ms, *(o.start_ms for o in joined)]),
            max([outage.end_ms, *(o.end_ms for o in joined)]),
            outage.off_grid_until_ms,
        )
        return msgspec.structs.replace(self, outages=tuple(sorted([*apart, outage])))

    def with_quiet(self, stretch: Stretch) -> "Interruptions":
        """Return these and one more stretch without trades."""
        return msgspec.structs.replace(self, quiet=tuple(sorted([*self.quiet, stretch])))

    def silent_stretches(self) -> list[Stretch]:
        """Return where nothing trades: all outages and quiet stretches, joined and in order."""
        merged: list[Stretch] = []
        every = [Stretch(o.start_ms, o.end_ms) for o in self.outages] + list(self.quiet)
        for stretch in sorted(every):
            if merged and stretch.start_ms <= merged[-1].end_ms:
                end_ms = max(merged[-1].end_ms, stretch.end_ms)
                merged[-1] = Stretch(merged[-1].start_ms, end_ms)
            else:
                merged.append(stretch)
        return merged

    def outage_at(self, time_ms: int) -> Outage | None:
        """Return the outage that ``time_ms`` lies in."""
        place = bisect.bisect_right(self.outages, time_ms, key=lambda o: o.start_ms) - 1
        if place >= 0 and time_ms < self.outages[place].end_ms:
            return self.outages[place]
        return None

    def label(self, klines: Int64s, seen_until_ms: int) -> Int64s:
        """Return the klines that exist, with the open and close times that the exchange gives.

        Args:
            klines: Rows on the grid, with their full close times.
            seen_until_ms: Outages that start at this moment or later are not known yet.
        """
        if not self.outages or not len(klines):
            return klines
        opens, closes = klines[:, Column.OPEN_MS], klines[:, Column.CLOSE_MS]
        exists = np.ones(len(klines), np.bool_)
        labelled = klines.copy()
        for outage in self.outages:
            if outage.start_ms >= seen_until_ms:
                break
            exists &= (opens < outage.start_ms) | (closes >= outage.end_ms)
            is_cut = (opens < outage.start_ms) & (closes >= outage.start_ms)
            is_cut &= closes < outage.end_ms
            labelled[is_cut, Column.CLOSE_MS] = outage.start_ms - 1
            if outage.off_grid_until_ms > outage.end_ms:
                is_late = (closes >= outage.end_ms) & (opens < outage.off_grid_until_ms)
                labelled[is_late, Column.OPEN_MS] += outage.end_ms % MINUTE_MS
        return labelled[exists]
