# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The price at every minute boundary: a random walk that can be entered anywhere.

It is a sum of smooth noises whose periods double from one minute to three months and whose
amplitudes grow with the square root of the period, which looks like Brownian motion but needs no
walking: each point costs the same.
"""

import msgspec
import numpy as np

from simulator.randomness import Floats, derive_key, uniform

LEVELS = 18
_ROOT_2 = 1.4142135623730951


class PricePath(msgspec.Struct, frozen=True):
    """The path of one symbol.

    Attributes:
        key: Key of its randomness.
        base_ticks: The price that it swings around.
        volatility: Size of a one-minute move, as a fraction of the price.
    """

    key: int
    base_ticks: int
    volatility: float

    def prices(self, first_minute: int, end_minute: int) -> Floats:
        """Return the price in ticks, unrounded, at each minute of [first, end], both included."""
        minutes = np.arange(first_minute, end_minute + 1)
        exponent = np.zeros(len(minutes))
        amplitude = self.volatility
        for level in range(LEVELS):
            cells = minutes >> level
            first_cell = int(cells[0])
            knots = uniform(
                np.arange(first_cell, int(cells[-1]) + 2), derive_key(self.key, "level", level)
            )
            offsets = cells - first_cell
            fraction = (minutes - (cells << level)) * (1.0 / (1 << level))
            left = knots[offsets]
            exponent += amplitude * (2.0 * (left + (knots[offsets + 1] - left) * fraction) - 1.0)
            amplitude *= _ROOT_2
        growth = 1.0 + exponent * (1.0 / 16.0)
        for _ in range(4):  # (1 + x/16)**16, close to exp(x), the same on every machine
            growth = growth * growth
        return np.maximum(growth * self.base_ticks, 8.0)
