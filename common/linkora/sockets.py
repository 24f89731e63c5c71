# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The open WebSockets of one process: accept, heartbeat, signs of life, slow clients, closing.

What is said over a socket is ``linkora.dialog``'s (or another dialect's) matter; who hears what is
``linkora.hub``'s.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as CounterMetric
from starlette.websockets import WebSocket, WebSocketDisconnect

from linkora.frames import EXTENSION
from linkora.hub import PING, Frame, Mailbox
from linkora.settings import WebSocketSettings

log = structlog.get_logger(__name__)

# Codes below 4000 are IANA's; the others are ours. The readme documents them.
CLOSE_GOING_AWAY = 1012  # uvicorn's, at our stop: "service restart"
CLOSE_WRONG_PARAMETER = 1008
CLOSE_IDLE = 4408
CLOSE_TOO_SLOW = 4413
CLOSE_TOO_MANY = 4429

_REASON_BYTES = 123  # RFC 6455, section 5.5.1: a control frame carries at most 125 bytes
_CONTROL_KEY = "control"
_DRAIN_POLL_S = 0.05
FLUSH_WINDOW_S = 0.01
MAX_BATCH = 64
_encoder = msgspec.json.Encoder()


def encode(message: Any) -> Frame:
    """Return ``message`` (built-ins or structs) as a frame."""
    return Frame(_encoder.encode(message))


class Outlet(Protocol):
    """Where a connection's frames go."""

    on_writable: Callable[[], None] | None
    last_inbound_s: float
    can_write: bool

    @property
    def is_gone(self) -> bool:
        """True once nothing that is written arrives any more."""

    def write(self, frames: list[Frame], joined: bytes) -> None:
        """Send ``frames``, whose wire forms together are ``joined``."""

    def close(self, code: int, reason: str) -> None:
        """Close without waiting."""


class AsgiOutlet:
    """The way through ASGI, for servers without ``FrameProtocol``: one batch under way."""

    def __init__(self, websocket: WebSocket, group: asyncio.TaskGroup) -> None:
        self.on_writable: Callable[[], None] | None = None
        self.last_inbound_s = asyncio.get_running_loop().time()
        self._websocket = websocket
        self._group = group
        self.can_write = True
        self._sending: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_gone(self) -> bool:
        """True after a close or a failed send."""
        return self._is_closed

    def write(self, frames: list[Frame], joined: bytes) -> None:
        """Start sending ``frames``; until they are out, ``can_write`` is false."""
        if not self._is_closed:
            self.can_write = False
            self._sending = self._group.create_task(self._send(frames))

    def close(self, code: int, reason: str) -> None:
        """Close once the frame under way is out; give that no more than a moment."""
        if not self._is_closed:
            self._is_closed = True
            self._group.create_task(self._close(code, reason, self._sending))

    async def _send(self, frames: list[Frame]) -> None:
        try:
            for frame in frames:
                if frame is not PING:  # ASGI has no way to say it
                    await self._websocket.send_text(frame.payload.decode())
        except (WebSocketDisconnect, RuntimeError, OSError):
            self._is_closed = True
            return
        self.can_write = True
        if self.on_writable is not None and not self._is_closed:
            self.on_writable()

    async def _close(self, code: int, reason: str, sending: asyncio.Task[None] | None) -> None:
        if sending is not None:
            await asyncio.wait([sending], timeout=1.0)
            sending.cancel()
        with suppress(WebSocketDisconnect, RuntimeError, OSError):
            await self._websocket.close(code, reason)


class Flusher:
    """Writes what was offered to many connections: one system call each, not one a message.

    The first offer after a pause is written as soon as the loop is through with what it does;
    under load everything that comes within ``FLUSH_WINDOW_S`` goes out together.
    """

    def __init__(self) -> None:
        self._waiting: list[Connection] = []
        self._is_scheduled = False
        self._flushed_s = 0.0

    def add(self, connection: "Connection") -> None:
        """Write what ``connection`` has to send, soon."""
        self._waiting.append(connection)
        if not self._is_scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._is_scheduled = True
        loop = asyncio.get_running_loop()
        wait_s = self._flushed_s + FLUSH_WINDOW_S - time.monotonic()
        if wait_s <= 0:
            loop.call_soon(self._flush)
        else:
            loop.call_later(wait_s, self._flush)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        frames: list[Frame] = []
        joined = b""
        for connection in waiting:
            own = connection.take_outgoing()
            if not own:
                continue
            if own != frames:  # mostly the same for all followers of a topic
                frames = own
                joined = join(own)
            connection.outlet.write(own, joined)
        # uvloop makes its system calls when the callbacks of this turn are through.
        asyncio.get_running_loop().call_soon(self._finish)

    def _finish(self) -> None:
        self._flushed_s = time.monotonic()
        self._is_scheduled = False
        if self._waiting:
            self._schedule()


def join(frames: list[Frame]) -> bytes:
    """Return the wire forms of ``frames`` in one piece."""
    return frames[0].wire if len(frames) == 1 else b"".join([frame.wire for frame in frames])


class Connection:
    """One client, as the hub sees it.

    Attributes:
        address: The client's address, for limits and logs.
        is_pinged: Whether its heartbeat is the protocol's ping instead of a message.
        topics: What it follows: topic to the description it was asked for with.
    """

    def __init__(
        self,
        address: str,
        outlet: Outlet,
        mailbox: Mailbox,
        flusher: Flusher,
        *,
        is_pinged: bool = False,
    ) -> None:
        self.address = address
        self.is_pinged = is_pinged
        self.topics: dict[Hashable, Any] = {}
        self.close_code: int | None = None
        self.outlet = outlet
        self._mailbox = mailbox
        self._flusher = flusher
        self._outgoing: list[Frame] = []
        self._is_held = False
        self._is_waiting = False
        outlet.on_writable = self._drain

    @property
    def last_inbound_s(self) -> float:
        """When the client last sent anything, on the event loop's clock."""
        return self.outlet.last_inbound_s

    @property
    def conflated(self) -> int:
        """How many states were replaced by newer ones before this client could take them."""
        return self._mailbox.conflated

    def heard(self, now_s: float) -> None:
        """Note a sign of life that reached us as a message."""
        self.outlet.last_inbound_s = max(self.outlet.last_inbound_s, now_s)

    def offer(self, frame: Frame, key: Hashable | None) -> None:
        """Send ``frame`` soon, or keep it until the client has caught up (see ``Mailbox.put``)."""
        if not self._is_waiting and self.outlet.can_write:
            if not self._outgoing:
                self._flusher.add(self)
            self._outgoing.append(frame)
            if len(self._outgoing) >= MAX_BATCH:
                self._write_outgoing()
            return
        self._is_waiting = True
        if not self._mailbox.put(frame, key):
            self.close(CLOSE_TOO_SLOW, "too slow: more messages wait than we keep")

    def take_outgoing(self) -> list[Frame]:
        """Return what is to be written now."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def _write_outgoing(self) -> None:
        outgoing = self.take_outgoing()
        if outgoing:
            self.outlet.write(outgoing, join(outgoing))

    def say(self, message: Any) -> None:
        """Send an answer that is meant for this client alone."""
        self.offer(encode(message), None)

    def hold(self) -> None:
        """Keep everything that is offered until ``release``, so that older news goes first."""
        self._is_held = self._is_waiting = True

    def release(self, first: list[Frame]) -> None:
        """Send ``first``, then what was kept since ``hold``, then go on as usual."""
        self._is_held = self._is_waiting = False
        kept = self._mailbox.take_all()
        for frame in first:
            self.offer(frame, None)
        for key, frame in kept:
            self.offer(frame, key)

    async def drained(self) -> None:
        """Wait until the client has taken everything that waited for it, or is gone."""
        while self._mailbox and self.close_code is None and not self.outlet.is_gone:  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_POLL_S)

    def close(self, code: int, reason: str) -> None:
        """Close the connection without waiting for the client."""
        if self.close_code is None:
            self.close_code = code
            self._write_outgoing()
            self.outlet.close(code, short_reason(reason))

    def _drain(self) -> None:
        if self._is_held or not self._is_waiting:
            return
        self._is_waiting = False
        self._write_outgoing()
        for key, frame in self._mailbox.take_all():
            self.offer(frame, key)


def short_reason(reason: str) -> str:
    """Return ``reason`` cut to what a closing frame can carry."""
    return reason.encode()[:_REASON_BYTES].decode(errors="ignore")


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
                outlet.on_writable = None
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
