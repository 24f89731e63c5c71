# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which neighbour is there: noted by whoever meets it, told to ``/health`` and to every socket."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from linkora.errors import TransientError
from linkora.health import Health

log = structlog.get_logger(__name__)

PROBE_INTERVAL_S = 1.0
PROBE_TIMEOUT_S = 5.0
LIVE_DATA = "live_data"


class Asked(Protocol):
    """A database that can be asked whether it is there."""

    async def ping(self) -> None:
        """Return if it is; raise ``TransientError`` else."""


class Neighbours:
    """Notes which neighbour is away, and tells everybody when that changes."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self.tell: Callable[[dict[str, Any]], None] = lambda _: None
        for name in ("database", "redis", LIVE_DATA):
            health.down(name, "not reached yet")

    def note(self, name: str, error: TransientError | None) -> None:
        """Note that ``name`` is away, or there if ``error`` is ``None``."""
        is_news = self._health.down(name, str(error)) if error else self._health.up(name)
        if not is_news:
            return
        log.warning("neighbour_changed", neighbour=name, error=str(error) if error else None)
        self.tell({"type": "status", **self._health.report()})


async def probe(queries: Asked, name: str, neighbours: Neighbours) -> None:
    """Ask a database whether it is there, for ever."""
    while True:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await queries.ping()
        except TransientError as error:
            neighbours.note(name, error)
        except TimeoutError:
            neighbours.note(name, TransientError("database: no answer"))
        else:
            neighbours.note(name, None)
        await asyncio.sleep(PROBE_INTERVAL_S)
