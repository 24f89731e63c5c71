# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The open WebSockets of one process: accept, heartbeat, signs of life, slow clients, closing.

What is said over a socket is ``linkora.dialog``'s (or another dialect's) matter; who hears what is
``linkora.hub``'s.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as CounterMetric
from starlette.websockets import WebSocket

from linkora.connections import (
    CLOSE_BEGIN_ANEW,
    CLOSE_GOING_AWAY,
    CLOSE_IDLE,
    CLOSE_TOO_MANY,
    CLOSE_TOO_SLOW,
    CLOSE_WRONG_PARAMETER,
    Connection,
    Flusher,
    encode,
)
from linkora.frames import EXTENSION
from linkora.hub import PING, Mailbox
from linkora.outlets import AsgiOutlet, Outlet
from linkora.settings import WebSocketSettings

__all__ = [
    "CLOSE_BEGIN_ANEW",
    "CLOSE_GOING_AWAY",
    "CLOSE_IDLE",
    "CLOSE_TOO_MANY",
    "CLOSE_TOO_SLOW",
    "CLOSE_WRONG_PARAMETER",
    "Connection",
    "Sockets",
    "encode",
]

_CONTROL_KEY = "control"


class Sockets:
    """All connections of this process.

    Args:
        limits: Intervals and bounds.
        registry: Where the gauge of open sockets and the counter of closings go.
        heartbeat: Further fields of each heartbeat, such as the last ``seq``.
    """

    def __init__(
        self,
        limits: WebSocketSettings,
        registry: CollectorRegistry,
        heartbeat: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.limits = limits
        self._heartbeat = heartbeat
        self._flusher = Flusher()
        self._open: dict[Connection, None] = {}
        self._by_address: Counter[str] = Counter()
        gauge = Gauge("websocket_connections", "Open WebSockets", registry=registry)
        gauge.set_function(lambda: len(self._open))
        self._closed = CounterMetric(
            "websocket_closed_by_server",
            "WebSockets closed by the server, by code",
            ["code"],
            registry=registry,
        )

    def __len__(self) -> int:
        return len(self._open)

    @asynccontextmanager
    async def accept(
        self, websocket: WebSocket, *, is_pinged: bool = False
    ) -> AsyncIterator[Connection]:
        """Accept ``websocket`` and yield its connection, already closed if there are too many.

        The body should read until the client disconnects; leaving it forgets the connection (not
        what it follows: leave the hub's topics yourself).
        """
        await websocket.accept()
        address = websocket.client.host if websocket.client else ""
        async with asyncio.TaskGroup() as group:
            fast = websocket.scope.get("extensions", {}).get(EXTENSION)
            outlet: Outlet = fast or AsgiOutlet(websocket, group)
            mailbox = Mailbox(self.limits.mailbox_limit)
            connection = Connection(address, outlet, mailbox, self._flusher, is_pinged=is_pinged)
            self._open[connection] = None
            self._by_address[address] += 1
            try:
                if self._by_address[address] > self.limits.max_connections_per_address:
                    connection.close(CLOSE_TOO_MANY, "too many connections from this address")
                yield connection
            finally:
                connection.leave()
                del self._open[connection]
                self._by_address[address] -= 1
                if not self._by_address[address]:
                    del self._by_address[address]
                if connection.close_code is not None:
                    self._closed.labels(connection.close_code).inc()

    def tell_all(self, message: Any) -> None:
        """Send ``message`` to every client; a slow one gets only the newest of such messages.

        Clients of another dialect, those that are pinged, would not understand it.
        """
        frame = encode(message)
        for connection in list(self._open):
            if not connection.is_pinged:
                connection.offer(frame, _CONTROL_KEY)

    def close_all(self, code: int, reason: str) -> None:
        """Close every connection without waiting for the clients."""
        for connection in list(self._open):
            connection.close(code, reason)

    async def keep(self) -> None:
        """Send the heartbeats and close idle connections, for ever."""
        loop = asyncio.get_running_loop()
        next_heartbeat_s = loop.time() + self.limits.ping_interval_s
        next_sweep_s = loop.time() + self.limits.cleanup_interval_s
        while True:
            await asyncio.sleep(max(0.0, min(next_heartbeat_s, next_sweep_s) - loop.time()))
            now_s = loop.time()
            if now_s >= next_heartbeat_s:
                next_heartbeat_s = now_s + self.limits.ping_interval_s
                now_ms = time.time_ns() // 1_000_000
                self.tell_all({"type": "heartbeat", "timestamp": now_ms, **self._heartbeat()})
                for connection in list(self._open):
                    if connection.is_pinged:
                        connection.offer(PING, _CONTROL_KEY)
            if now_s >= next_sweep_s:
                next_sweep_s = now_s + self.limits.cleanup_interval_s
                self._close_idle(now_s)

    def _close_idle(self, now_s: float) -> None:
        timeout_s = self.limits.pong_timeout_s
        for connection in list(self._open):
            if now_s - connection.last_inbound_s > timeout_s:
                connection.close(CLOSE_IDLE, f"no sign of life for {timeout_s:g} s")
