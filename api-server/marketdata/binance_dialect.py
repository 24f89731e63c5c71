# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Binance's streams under ``/binance``: ``/ws``, ``/ws/<stream>``, ``/stream?streams=``.

Source of the rules: Binance's public documentation of the web socket streams. A stream that we
have not is refused by an error in its form; Binance itself keeps silent about some such names.
"""

from typing import Any

import msgspec
from starlette.websockets import WebSocket

from linkora.dialog import MAX_BRACKETS, inbound
from linkora.hub import Hub
from linkora.messages import is_too_deep
from linkora.sockets import Connection, Sockets
from marketdata.binance_names import StreamTopic, interval_ms


async def speak_binance(websocket: WebSocket, sockets: Sockets, hub: Hub) -> None:
    """Serve one client that speaks Binance's dialect."""
    path_stream = websocket.path_params.get("stream", "")
    listed = websocket.query_params.get("streams", "")
    is_combined = websocket.url.path.endswith("/stream")
    async with sockets.accept(websocket, is_pinged=True) as connection:
        dialect = _Dialect(connection, sockets, hub, is_combined=is_combined)
        try:
            dialect.open([name for name in (listed or path_stream).split("/") if name])
            await dialect.run(websocket)
        finally:
            for topic in connection.topics:
                hub.leave(topic, connection)


class _Request(msgspec.Struct):
    method: str
    params: list[Any] = []
    id: int | str | None = None


class _Dialect:
    def __init__(
        self, connection: Connection, sockets: Sockets, hub: Hub, *, is_combined: bool
    ) -> None:
        self._connection = connection
        self._limits = sockets.limits
        self._hub = hub
        self._is_combined = is_combined

    def open(self, names: list[str]) -> None:
        """Follow the streams that the URL names."""
        refused = self.subscribe(names)
        if refused:
            self._connection.say(_refusal(refused))

    async def run(self, websocket: WebSocket) -> None:
        per_s = self._limits.max_messages_per_s
        async for message in inbound(websocket, self._connection, per_s):
            self._connection.say(self._answer(message))

    def subscribe(self, names: list[str]) -> list[str]:
        """Follow the streams; return the names of those that do not exist here."""
        refused = []
        for name in names:
            pace_ms = interval_ms(name)
            topic = StreamTopic(name, self._is_combined)
            is_too_many = len(self._connection.topics) >= self._limits.max_subscriptions
            if topic in self._connection.topics:
                continue
            if pace_ms is None or is_too_many:
                refused.append(name)
            else:
                self._connection.topics[topic] = name
                self._hub.join(topic, self._connection, pace_ms)
        return refused

    def _answer(self, text: str | bytes) -> dict[str, Any]:
        try:
            if is_too_deep(text, MAX_BRACKETS):
                raise msgspec.DecodeError("nested too deep")
            request = msgspec.json.decode(text, type=_Request)
        except msgspec.ValidationError as error:
            return {"code": 2, "msg": f"Invalid request: {error}"}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return {"code": 3, "msg": f"Invalid JSON: {error}"}
        try:
            result = self._react(request.method, request.params)
        except ValueError as error:
            return {"code": 2, "msg": f"Invalid request: {error}", "id": request.id}
        return {"result": result, "id": request.id}

    def _react(self, method: str, params: list[Any]) -> Any:
        names = [str(name) for name in params]
        match method:
            case "SUBSCRIBE":
                refused = self.subscribe(names)
                if refused:
                    raise ValueError(_unknown(refused))
                return None
            case "UNSUBSCRIBE":
                return self._unsubscribe(names)
            case "LIST_SUBSCRIPTIONS":
                return list(self._connection.topics.values())
            case "SET_PROPERTY" if len(params) == 2 and names[0] == "combined":
                return self._combine(is_combined=params[1] is True)
            case "GET_PROPERTY" if names == ["combined"]:
                return self._is_combined
            case _:
                raise ValueError(f"unknown method or property {method}")

    def _unsubscribe(self, names: list[str]) -> None:
        for name in names:
            topic = StreamTopic(name, self._is_combined)
            self._connection.topics.pop(topic, None)
            self._hub.leave(topic, self._connection)

    def _combine(self, *, is_combined: bool) -> None:
        names = [str(name) for name in self._connection.topics.values()]
        self._unsubscribe(names)
        self._is_combined = is_combined
        self.subscribe(names)


def _unknown(names: list[str]) -> str:
    return f"unknown or too many streams {names}"


def _refusal(names: list[str]) -> dict[str, Any]:
    return {"code": 2, "msg": f"Invalid request: {_unknown(names)}", "id": None}
