# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""One client as the hub sees it: what is offered to it is written together, or waits for it."""

import asyncio
import time
from collections.abc import Hashable
from typing import Any

import msgspec

from linkora.hub import Frame, Mailbox
from linkora.outlets import Outlet

# Codes below 4000 are IANA's; the others are ours. The readme documents them.
CLOSE_GOING_AWAY = 1012  # uvicorn's, at our stop: "service restart"
CLOSE_WRONG_PARAMETER = 1008
CLOSE_IDLE = 4408
CLOSE_BEGIN_ANEW = 4409
CLOSE_TOO_SLOW = 4413
CLOSE_TOO_MANY = 4429

_REASON_BYTES = 123  # RFC 6455, section 5.5.1: a control frame carries at most 125 bytes
_DRAIN_POLL_S = 0.05
FLUSH_WINDOW_S = 0.01
MAX_BATCH = 64
_encoder = msgspec.json.Encoder()


def encode(message: Any) -> Frame:
    """Return ``message`` (built-ins or structs) as a frame."""
    return Frame(_encoder.encode(message))


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
        self._has_left = False
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
        if self._has_left:
            return
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

    def leave(self) -> None:
        """Write nothing any more: the client has gone, or nobody serves it."""
        self._has_left = True
        self.outlet.on_writable = None
        self._outgoing.clear()

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
