# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""How far the history of each symbol has come, for logs and ``/health``."""

import time
from datetime import UTC, datetime

import msgspec


class Progress(msgspec.Struct):
    """How far the history of one symbol has come, in minutes of the span that was missing."""

    from_ms: int
    to_ms: int
    wanted: int
    done: int = 0
    started: float = 0.0

    def tell(self) -> dict[str, str | float]:
        """Return the progress as a reader wants it: percent, rate and seconds left."""
        elapsed = max(time.monotonic() - self.started, 0.001)
        rate = self.done / elapsed
        left = self.wanted - self.done
        return {
            "from": _iso(self.from_ms),
            "to": _iso(self.to_ms),
            "percent": round(100 * self.done / self.wanted, 1) if self.wanted else 100.0,
            "candles_per_second": round(rate),
            "seconds_left": round(left / rate) if rate else 0.0 if not left else -1.0,
        }


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
