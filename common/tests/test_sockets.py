# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
from types import SimpleNamespace

from prometheus_client import CollectorRegistry

from linkora.settings import WebSocketSettings
from linkora.sockets import Sockets


class PlainSocket:
    """A WebSocket of a server without our protocol: everything goes through ASGI."""

    def __init__(self) -> None:
        self.scope: dict[str, object] = {}
        self.client = SimpleNamespace(host="10.0.0.1")
        self.heard: list[str] = []

    async def accept(self) -> None: ...

    async def send_text(self, text: str) -> None:
        self.heard.append(text)


async def test_a_client_that_leaves_before_its_answer_is_written_silences_nobody():
    sockets = Sockets(WebSocketSettings(), CollectorRegistry())
    gone, stays = PlainSocket(), PlainSocket()
    async with sockets.accept(stays) as staying:
        async with sockets.accept(gone) as leaving:
            leaving.say("too late")
            staying.say("first")
        await asyncio.sleep(0.1)
        staying.say("second")
        async with asyncio.timeout(5):
            while len(stays.heard) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert stays.heard == ['"first"', '"second"']
    assert gone.heard == []
