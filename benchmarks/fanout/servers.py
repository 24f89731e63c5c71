# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The servers of the comparison, one a process: ``python servers.py KIND CLIENTS MESSAGES RATE``.

Each prints its port, waits for its clients, prints the CPU seconds used so far, and sends every
message to all of them: ``RATE`` a second, or for 0 as fast as it can, letting the event loop turn
once after each.
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
import websockets
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

sys.path[:0] = [str(Path(__file__).parents[2] / "common"), str(Path(__file__).parent)]

from payload import payload  # noqa: E402

from linkora.hub import Frame, Hub  # noqa: E402
from linkora.metrics import new_registry  # noqa: E402
from linkora.runtime import serve_http  # noqa: E402
from linkora.settings import WebSocketSettings  # noqa: E402
from linkora.sockets import Sockets  # noqa: E402

Broadcast = Callable[[bytes], Awaitable[None]]


class Run:
    """Waits for the clients, then sends and measures."""

    def __init__(self, clients: int, messages: int, rate: float) -> None:
        self.clients, self.messages, self.rate = clients, messages, rate
        self.connected = 0

    async def measure(self, broadcast: Broadcast) -> None:
        while self.connected < self.clients:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        say({"cpu_s": time.process_time()})
        began_s = time.perf_counter()
        for number in range(self.messages):
            await broadcast(payload(number))
            due_s = began_s + (number + 1) / self.rate if self.rate else 0.0
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        await asyncio.sleep(60)


def say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def say_port(port: int) -> None:
    say(port)


async def linkora(run: Run) -> None:
    """Our hub, sockets and frame protocol, as the API server uses them."""
    hub, sockets = Hub(), Sockets(WebSocketSettings(), new_registry())

    async def endpoint(websocket: WebSocket) -> None:
        async with sockets.accept(websocket) as connection:
            hub.join("topic", connection)
            run.connected += 1
            while (await websocket.receive())["type"] == "websocket.receive":
                pass

    async def broadcast(text: bytes) -> None:
        hub.publish_final("topic", Frame(text))

    app = Starlette(routes=[WebSocketRoute("/", endpoint)])
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve_http(
                app, host="127.0.0.1", port=0, ws_ping_interval_s=None, on_listening=say_port
            )
        )
        await run.measure(broadcast)


async def starlette(run: Run) -> None:
    """The plain loop: ``for ws in clients: await ws.send_text(text)``."""
    clients: list[WebSocket] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        clients.append(websocket)
        run.connected += 1
        while (await websocket.receive())["type"] == "websocket.receive":
            pass

    async def broadcast(text: bytes) -> None:
        decoded = text.decode()
        for client in clients:
            await client.send_text(decoded)

    app = Starlette(routes=[WebSocketRoute("/", endpoint)])
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    say_port(listener.getsockname()[1])
    config = uvicorn.Config(
        app,
        log_level="error",
        lifespan="off",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(uvicorn.Server(config).serve([listener]))
        await run.measure(broadcast)


async def websockets_broadcast(run: Run) -> None:
    """``websockets.broadcast``."""
    clients: set[Any] = set()

    async def endpoint(client: Any) -> None:
        clients.add(client)
        run.connected += 1
        await client.wait_closed()

    async def broadcast(text: bytes) -> None:
        websockets.broadcast(clients, text.decode())

    async with websockets.serve(
        endpoint, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=2048
    ) as server:
        say_port(next(iter(server.sockets)).getsockname()[1])
        await run.measure(broadcast)


async def raw(run: Run) -> None:
    """The limit: a transport write of the same bytes for each client, no protocol at all."""
    transports: list[Any] = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            # Any answer that ends the handshake: the client checks nothing but the end.
            self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            transports.append(self.transport)
            run.connected += 1

    async def broadcast(text: bytes) -> None:
        wire = Frame(text).wire
        for transport in transports:
            transport.write(wire)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Protocol, "127.0.0.1", 0, backlog=2048)
    say_port(server.sockets[0].getsockname()[1])
    await run.measure(broadcast)


KINDS = {
    "linkora": linkora,
    "starlette": starlette,
    "websockets": websockets_broadcast,
    "raw": raw,
}

if __name__ == "__main__":
    kind, clients, messages, rate = sys.argv[1:]
    os.environ.clear()  # nothing but the arguments decides
    uvloop.run(KINDS[kind](Run(int(clients), int(messages), float(rate))))
