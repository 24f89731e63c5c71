# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""How it goes with the order API and its neighbours: for ``/health`` and for every socket."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from linkora.errors import TransientError
from linkora.health import Health
from orders.condition import Bounds, ScannerState, judge

LOOK_INTERVAL_S = 2.0
REDIS = "redis"


class States(Protocol):
    """Where the event processor's state is read."""

    async def scanner_state(self) -> ScannerState | None:
        """Return what the event processor last said of itself."""


class Standing:
    """The state of the order API's neighbours.

    Args:
        states: Read for each answer; raises ``TransientError`` while the database is away.
        bounds: Limits of what counts as healthy.
        health: Knows whether Redis is there.
        connections: Returns the number of open sockets.
    """

    def __init__(
        self, states: States, bounds: Bounds, health: Health, connections: Callable[[], int]
    ) -> None:
        self._states = states
        self._bounds = bounds
        self._health = health
        self._connections = connections

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Return whether all is well, and the body of ``/health``."""
        components: dict[str, Any] = {
            "order_api": "HEALTHY",
            "timestamp": datetime.now(UTC).isoformat(),
            "websocket_connections": self._connections(),
        }
        redis_error = self._health.reasons().get(REDIS)
        is_well = redis_error is None
        components[REDIS] = "HEALTHY" if is_well else "UNHEALTHY"
        if redis_error is not None:
            components["redis_error"] = redis_error[:200]
        try:
            state = await self._states.scanner_state()
        except TransientError as error:
            is_well = False
            components |= {
                "database": "UNHEALTHY",
                "database_connection": "FAILED",
                "database_error": str(error)[:200],
            }
        else:
            condition = judge(state, self._bounds)
            is_well &= condition.is_healthy
            components |= {"database": "HEALTHY", "database_connection": "WORKING"}
            components |= condition.facts
        return is_well, {
            "overall_status": "healthy" if is_well else "unhealthy",
            "components": components,
            "status": "success",
        }

    async def watch(self, tell: Callable[[dict[str, Any]], None]) -> None:
        """Tell the report whenever a part goes away or comes back, for ever."""
        before: tuple[Any, ...] | None = None
        while True:
            _, body = await self.report()
            parts = body["components"]
            now = (parts["database"], parts[REDIS], bool(parts.get("problems")))
            if before is not None and now != before:
                tell(body | {"type": "status"})
            before = now
            await asyncio.sleep(LOOK_INTERVAL_S)
