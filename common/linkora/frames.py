# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""uvicorn's WebSocket protocol with one more door: write a frame that is encoded already.

A broadcast to a thousand sockets costs a system call each; an ASGI ``send`` each would cost more
than that again. So the protocol puts itself into the ASGI scope under ``EXTENSION``, and
``linkora.connections`` writes shared frames to it directly. Under another server the extension is
absent and everything goes through ASGI.
"""

from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from linkora.hub import Frame

EXTENSION = "linkora.frames"
# A client that does not take the closing frame is cut off after this long.
CLOSE_TIMEOUT_S = 2.0


class FrameProtocol(WebSocketsSansIOProtocol):
    """One connection. ``write`` and ``close`` may be called between accept and disconnect."""

    on_writable: Callable[[], None] | None = None
    can_write = True

    def handle_connect(self, event: Request) -> None:
        """Put this object into the scope before the application runs."""
        self.last_inbound_s = self.loop.time()
        super().handle_connect(event)
        if self.response.status_code == 101:
            cast("dict[str, Any]", self.scope["extensions"])[EXTENSION] = self

    def data_received(self, data: bytes) -> None:
        """Note the time: any inbound frame, a protocol ping or pong too, is a sign of life."""
        self.last_inbound_s = self.loop.time()
        super().data_received(data)

    def pause_writing(self) -> None:
        """Note that the client is behind: the transport holds 64 KiB for it."""
        self.can_write = False
        super().pause_writing()

    def resume_writing(self) -> None:
        """Tell the socket that the client has caught up."""
        self.can_write = True
        super().resume_writing()
        if self.on_writable is not None and not self.disconnected:
            self.on_writable()

    @property
    def is_gone(self) -> bool:
        """True once the connection is closing or closed."""
        return self.close_sent or self.disconnected or self.transport.is_closing()

    def write(self, frames: list[Frame], joined: bytes) -> None:
        """Send ``frames``, whose wire forms together are ``joined``; nothing if it is closing."""
        if not self.is_gone:
            self.transport.write(joined)

    def close(self, code: int, reason: str) -> None:
        """Send a closing frame without waiting; a client that does not answer it is cut off."""
        if self.is_gone:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(CLOSE_TIMEOUT_S, self.transport.abort)
