# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which request goes wrong, and how: drawn from the exchange's seeded randomness, or queued."""

import random
from collections import deque
from typing import Literal, get_args

from simulator.settings import Switches

FaultKind = Literal["429", "418", "5xx", "html", "cut", "slow", "garbage"]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)


class Faults:
    """The faults of the REST side."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.queued: deque[FaultKind] = deque()

    def pick(self, path: str, switches: Switches) -> FaultKind | None:
        """Return the fault that strikes a request to ``path``, if any; queued ones come first."""
        if not path.startswith(switches.fault_path):
            return None
        if self.queued:
            return self.queued.popleft()
        draw = self._rng.random()
        for kind in FAULT_KINDS:
            rate: float = getattr(switches, f"fault_{kind}")
            if draw < rate:
                return kind
            draw -= rate
        return None
