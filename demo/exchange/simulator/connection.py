# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""One WebSocket connection: its streams, its mailbox, its pings and the rules it must keep."""

import asyncio
import json
import time
from collections import deque
from typing import Protocol

import structlog
from aiohttp import WSMessage, WSMsgType, web

from simulator.exchange import Exchange
from simulator.streams import Stream, parse_stream

log = structlog.get_logger(__name__)

GOING_AWAY, POLICY_VIOLATION = 1001, 1008
MAX_ID_LENGTH = 36
_REMEMBERED_PINGS = 16
_METHODS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"


class ControlError(Exception):
    """A control message that the exchange refuses, with its code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Audience(Protocol):
    """Who sends the streams."""

    def refresh(self) -> None:
        """Learn that a connection's streams have changed."""
        ...

    def greet(self, connection: "Connection", names: list[str]) -> None:
        """Send the newest frame of these streams at once."""
        ...


class Connection:
    """One client's socket. Frames are offered, never awaited; a full mailbox cuts it off.

    Attributes:
        streams: What it is subscribed to, by name; ``None`` for names that never send anything.
        scale: 1 for times in ms, 1000 for microseconds.
        is_silent: Whether the connection is half-open: nothing is sent or answered any more.
    """

    def __init__(
        self,
        number: int,
        socket: web.WebSocketResponse,
        request: web.Request,
        exchange: Exchange,
        audience: Audience,
    ) -> None:
        self.number = number
        self.streams: dict[str, Stream | None] = {}
        self.scale = 1_000 if request.query.get("timeUnit", "").upper() == "MICROSECOND" else 1
        self.is_combined = request.path.startswith("/stream")
        self.is_silent = False
        self.offences = 0
        self._socket = socket
        self._request = request
        self._exchange = exchange
        self._audience = audience
        self._mailbox: asyncio.Queue[str] = asyncio.Queue(exchange.settings.mailbox_size)
        self._received_s: deque[float] = deque(maxlen=exchange.settings.max_messages_per_s)
        self._pings: deque[bytes] = deque(maxlen=_REMEMBERED_PINGS)
        self._last_pong_s = time.monotonic()

    def offer(self, name: str, payload: str) -> None:
        """Put a stream's payload into the mailbox."""
        if self.is_silent:
            return
        if self.is_combined:
            payload = f'{{"stream":"{name}","data":{payload}}}'
        self.send(payload)

    def send(self, text: str) -> None:
        """Put a finished text into the mailbox."""
        try:
            self._mailbox.put_nowait(text)
        except asyncio.QueueFull:
            self._exchange.counters["connections_too_slow"] += 1
            self.cut()

    def cut(self) -> None:
        """End the connection without a word, as a broken network does."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def close(self, code: int, reason: str) -> None:
        """End the connection with a closing handshake; a silent one stays as it is."""
        if self.is_silent:
            return
        log.info("connection_closed", number=self.number, code=code, reason=reason)
        await self._socket.close(code=code, message=reason.encode())

    def subscribe(self, names: list[str]) -> bool:
        """Add streams; return whether there are not too many now."""
        self.streams.update({name: parse_stream(name) for name in names})
        self._audience.refresh()
        return len(self.streams) <= self._exchange.settings.max_streams

    async def run(self) -> None:
        """Serve the connection until it ends."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._write()),
                group.create_task(self._ping()),
                group.create_task(self._end_of_life()),
            ]
            await self._read()
            for task in tasks:
                task.cancel()

    async def _write(self) -> None:
        while True:
            text = await self._mailbox.get()
            if self.is_silent:
                continue
            try:
                await self._socket.send_str(text)
            except (ConnectionError, RuntimeError):  # closed; the reader ends the connection
                return
            self._exchange.counters["frames_sent"] += 1

    async def _ping(self) -> None:
        settings = self._exchange.settings
        while True:
            await asyncio.sleep(settings.ping_interval_ms / 1_000)
            if self.is_silent:
                continue
            if (time.monotonic() - self._last_pong_s) * 1_000 > settings.pong_timeout_ms:
                self._exchange.counters["connections_without_pong"] += 1
                await self.close(POLICY_VIOLATION, "Pong timeout")
                return
            payload = str(self._exchange.now_ms()).encode()
            self._pings.append(payload)
            try:
                await self._socket.ping(payload)
            except (ConnectionError, RuntimeError):  # closed; the reader ends the connection
                return

    async def _end_of_life(self) -> None:
        await asyncio.sleep(self._exchange.settings.connection_lifetime_s)
        await self.close(GOING_AWAY, "Connection is 24 hours old")

    async def _read(self) -> None:
        counters = self._exchange.counters
        while True:
            message = await self._socket.receive()
            if message.type in (WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR):
                return
            if self.is_silent:
                continue
            if message.type is WSMsgType.CLOSE:
                await self._socket.close()
                return
            counters["messages_received"] += 1
            if self._is_too_fast():
                self.offences += 1
                counters["connections_too_fast"] += 1
                await self.close(POLICY_VIOLATION, "Too many requests")
                return
            try:
                if not await self._handle(message):
                    return
            except ConnectionError:  # the client left before its answer
                return

    def _is_too_fast(self) -> bool:
        now_s, received_s = time.monotonic(), self._received_s
        is_full = len(received_s) == received_s.maxlen
        is_too_fast = is_full and now_s - received_s[0] < 1.0
        received_s.append(now_s)
        return is_too_fast

    async def _handle(self, message: WSMessage) -> bool:
        """Handle one message; return whether the connection goes on."""
        if message.type is WSMsgType.PING:
            await self._socket.pong(message.data)
        elif message.type is WSMsgType.PONG:
            if message.data in self._pings:
                self._exchange.counters["pongs_received"] += 1
                self._last_pong_s = time.monotonic()
        elif message.type is WSMsgType.TEXT:
            self._answer(message.data)
            if len(self.streams) > self._exchange.settings.max_streams:
                await self.close(POLICY_VIOLATION, "Too many streams")
                return False
        return True

    def _answer(self, text: str) -> None:
        """Carry out a control message and put the answer into the mailbox."""
        number: object = None
        try:
            request = _read_json(text)
            number = _read_id(request)
            answer = {"result": self._carry_out(request), "id": number}
        except ControlError as error:
            answer = {"code": error.code, "msg": str(error), "id": number}
            if number is None:
                del answer["id"]
        self.send(json.dumps(answer, separators=(",", ":")))

    def _carry_out(self, request: dict[str, object]) -> object:
        method, params = request.get("method"), request.get("params")
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            names = _read_names(params)
            if method == "UNSUBSCRIBE":
                for name in names:
                    self.streams.pop(name, None)
                self._audience.refresh()
                return None
            if self._exchange.switches.delta_before_ack:
                self._audience.greet(self, names)
            self.subscribe(names)
            return None
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.streams)
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return self._property(str(method), params)
        raise ControlError(
            2, f"Invalid request: unknown variant {method}, expected one of {_METHODS}"
        )

    def _property(self, method: str, params: object) -> object:
        if not isinstance(params, list) or not params or not isinstance(params[0], str):
            raise ControlError(2, "Invalid request: property name must be a string")
        if params[0] != "combined":
            raise ControlError(0, "Unknown property")
        if method == "GET_PROPERTY":
            return self.is_combined
        if len(params) != 2 or not isinstance(params[1], bool):
            raise ControlError(1, "Invalid value type: expected Boolean")
        self.is_combined = params[1]
        return None


def _read_json(text: str) -> dict[str, object]:
    try:
        request = json.loads(text)
    except ValueError as error:
        raise ControlError(3, f"Invalid JSON: {error}") from error
    if not isinstance(request, dict):
        raise ControlError(2, "Invalid request: must be an object")
    return request


def _read_id(request: dict[str, object]) -> object:
    number = request.get("id")
    is_int64 = isinstance(number, int) and not isinstance(number, bool) and abs(number) < 2**63
    is_short = isinstance(number, str) and len(number) <= MAX_ID_LENGTH
    if number is None or is_int64 or is_short:
        return number
    raise ControlError(2, "Invalid request: request ID must be an integer, a short string or null")


def _read_names(params: object) -> list[str]:
    if not isinstance(params, list) or not params:
        raise ControlError(2, "Invalid request: params must be a list of streams")
    if not all(isinstance(name, str) for name in params):
        raise ControlError(2, "Invalid request: stream name must be a string")
    return params
