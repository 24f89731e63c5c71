# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Where a connection's frames go: ``linkora.frames`` under our server, else through ASGI."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from linkora.hub import PING, Frame


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
