# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The exchange on a port: REST, streams and control together."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog
from aiohttp import web

from simulator.broadcast import Broadcaster
from simulator.connection import POLICY_VIOLATION, Connection
from simulator.control import (
    ControlRequest,
    WrongControlError,
    change_market,
    change_switches,
    read_control,
)
from simulator.exchange import Exchange
from simulator.faults import Faults
from simulator.gate import Gate
from simulator.operations import Operations
from simulator.report import WrongQuestionError, report, truth
from simulator.settings import Settings

log = structlog.get_logger(__name__)

MAX_CONTROL_BYTES = 1 << 20
CLOSE_TIMEOUT_S = 2.0


class Server:
    """An exchange that listens. Use as ``async with``; it serves until the block ends."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.exchange = Exchange(settings)
        self.port = settings.port
        self._broadcaster = Broadcaster(self.exchange)
        faults = Faults(self.exchange.rng)
        self._gate = Gate(self.exchange, faults)
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._operations = Operations(
            self.exchange, self._broadcaster, self._gate, faults, self._spawn
        )
        self._operations.pause_listening = self._pause_listening
        self._connection_count = 0
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0)
        self._site: web.TCPSite | None = None

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_CONTROL_BYTES)
        app.add_routes(
            [
                web.route("*", "/api/{path:.*}", self._gate.serve),
                web.get("/data/{path:.*}", self._gate.serve_file),
                web.get("/ws", self._serve_socket),
                web.get("/ws/{names:.*}", self._serve_socket),
                web.get("/stream", self._serve_socket),
                web.get("/control", self._tell),
                web.post("/control", self._control),
                web.get("/health", self._health),
            ]
        )
        return app

    async def __aenter__(self) -> "Server":
        await self._group.__aenter__()
        self.apply(read_control(f'{{"actions":{self.settings.actions}}}'.encode()))
        await self._runner.setup()
        await self._listen()
        self._spawn(self._broadcaster.run())
        log.info(
            "exchange_listening",
            host=self.settings.host,
            port=self.port,
            seed=self.settings.seed,
            symbols=len(self.exchange.listings),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        for task in self._tasks:
            task.cancel()
        for connection in list(self._broadcaster.connections):
            connection.cut()
        await self._runner.cleanup()
        is_cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        if is_cancelled:  # maybe by the group, because one of our tasks failed
            await self._group.__aexit__(kind, *error)
        else:
            await self._group.__aexit__(None, None, None)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, self.settings.host, self.port)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def _pause_listening(self, seconds: float) -> None:
        site, self._site = self._site, None
        if site is None:  # somebody else's pause is under way
            return
        await site.stop()
        await asyncio.sleep(seconds)
        await self._listen()

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        refused = self._gate.refuse_socket(request)
        if refused is not None:
            return refused
        socket = web.WebSocketResponse(
            autoping=False, autoclose=False, timeout=CLOSE_TIMEOUT_S, compress=False
        )
        await socket.prepare(request)
        self._connection_count += 1
        connection = Connection(
            self._connection_count, socket, request, self.exchange, self._broadcaster
        )
        self.exchange.counters["connections_opened"] += 1
        names = request.match_info.get("names") or request.query.get("streams") or ""
        if not connection.subscribe([name for name in names.split("/") if name]):
            await connection.close(POLICY_VIOLATION, "Too many streams")
            return socket
        self._broadcaster.join(connection)
        try:
            await connection.run()
        finally:
            self._broadcaster.leave(connection)
            self.exchange.counters["connections_ended"] += 1
            self._gate.note_offences(request, connection.offences)
        return socket

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _control(self, request: web.Request) -> web.Response:
        try:
            self.apply(read_control(await request.read()))
        except WrongControlError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(self.report())

    async def _tell(self, request: web.Request) -> web.Response:
        if "truth" not in request.query:
            return web.json_response(self.report())
        try:
            text = truth(self.exchange, request.query)
        except WrongQuestionError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.Response(text=text, content_type="application/json")

    def report(self) -> dict[str, object]:
        """Return what ``GET /control`` tells."""
        connections = self._broadcaster.connections
        return report(self.exchange, connections, self._gate.banned_until_ms())

    def apply(self, asked: ControlRequest) -> None:
        """Carry out a control request.

        Raises:
            WrongControlError: If something in it is wrong; actions before that are carried out.
        """
        exchange = self.exchange
        exchange.switches = change_switches(exchange.switches, asked.switches)
        for action in asked.actions:
            log.info("control_action", action=repr(action))
            if not change_market(exchange, action):
                self._operations.carry_out(action)
