# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What our own WebSockets understand: one subscription by the URL, any number by messages.

From the client, JSON objects: ``{"type": "subscribe", "channels": [{...}, ...]}``,
``{"type": "unsubscribe", "channels": [...]}``, ``{"type": "list"}``, ``{"type": "ping"}``,
``{"type": "pong"}``. An ``id`` comes back in the answer. What a channel is says the service, by a
``Channels`` of its own. A mistake is answered by ``{"type": "error", "error": text}`` and costs
nothing else; only wrong parameters of the URL close the socket (1008).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Hashable, Mapping
from typing import Any, Protocol

import msgspec
from starlette.websockets import WebSocket

from linkora.errors import RequestError, TransientError
from linkora.hub import Frame, Hub
from linkora.messages import is_too_deep
from linkora.sockets import CLOSE_TOO_MANY, CLOSE_WRONG_PARAMETER, Connection, Sockets

# A message of the greatest size has no use for so many; so deep, a decoder's stack still holds.
MAX_BRACKETS = 4096


class Subscription(msgspec.Struct, frozen=True):
    """One thing to follow.

    Attributes:
        topic: The hub's topic.
        channel: The same as the client names it; shown in answers.
        interval_ms: Open states at most this often.
        since_ms: Send what was final since then first; ``None`` for nothing.
    """

    topic: Hashable
    channel: dict[str, Any]
    interval_ms: int = 0
    since_ms: int | None = None


class Channels(Protocol):
    """What a service offers to follow."""

    def from_url(self, query: Mapping[str, str]) -> Subscription | None:
        """Return what the URL asks for, ``None`` for nothing.

        Raises:
            RequestError: If a parameter is wrong; the text becomes the closing reason.
        """

    def from_message(self, channel: dict[str, Any]) -> Subscription:
        """Return what an entry of ``channels`` asks for.

        Raises:
            RequestError: If it is wrong.
        """

    async def opening(self, subscription: Subscription) -> list[Frame]:
        """Return what a new follower is told first: what it missed, then the current state.

        Raises:
            TransientError: If that cannot be read now.
        """


async def converse(websocket: WebSocket, sockets: Sockets, hub: Hub, channels: Channels) -> None:
    """Serve one client from the handshake to the close."""
    async with sockets.accept(websocket) as connection:
        try:
            await _Dialog(connection, sockets, hub, channels).run(websocket)
        finally:
            for topic in connection.topics:
                hub.leave(topic, connection)


class _Dialog:
    def __init__(
        self, connection: Connection, sockets: Sockets, hub: Hub, channels: Channels
    ) -> None:
        self._connection = connection
        self._limits = sockets.limits
        self._hub = hub
        self._channels = channels

    async def run(self, websocket: WebSocket) -> None:
        try:
            wanted = self._channels.from_url(websocket.query_params)
        except RequestError as error:
            self._connection.close(CLOSE_WRONG_PARAMETER, error.message)
            wanted = None
        if wanted is not None and self._connection.close_code is None:
            await self._follow(wanted)
        per_s = self._limits.max_messages_per_s
        async for message in inbound(websocket, self._connection, per_s):
            await self._answer(message)

    async def _answer(self, text: str | bytes) -> None:
        try:
            if is_too_deep(text, MAX_BRACKETS):
                raise msgspec.DecodeError("nested too deep")
            message = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._connection.say({"type": "error", "error": "A message is a JSON object"})
            return
        if not isinstance(message, dict):
            self._connection.say({"type": "error", "error": "A message is a JSON object"})
            return
        reference = {"id": message["id"]} if isinstance(message.get("id"), str | int) else {}
        try:
            if message.get("type") == "subscribe":
                await self._subscribe(self._parse(message), reference)
                return
            answer = self._react(message)
        except RequestError as error:
            answer = {"type": "error", "error": error.message}
        if answer is not None:
            self._connection.say({**answer, **reference})

    def _react(self, message: dict[str, Any]) -> dict[str, Any] | None:
        match message.get("type"):
            case "pong":
                return None
            case "ping":
                return {"type": "pong", "timestamp": time.time_ns() // 1_000_000}
            case "list":
                return {"type": "subscriptions", "channels": list(self._connection.topics.values())}
            case "unsubscribe":
                return self._unsubscribe(self._parse(message))
            case _:
                raise RequestError(
                    400, "Invalid type. Supported: subscribe, unsubscribe, list, ping, pong"
                )

    def _parse(self, message: dict[str, Any]) -> list[Subscription]:
        entries = message.get("channels")
        if not isinstance(entries, list) or not all(isinstance(x, dict) for x in entries):
            raise RequestError(400, "channels must be a list of objects")
        if not entries or len(entries) > self._limits.max_subscriptions:
            raise RequestError(
                400, f"channels must have 1 to {self._limits.max_subscriptions} entries"
            )
        return [self._channels.from_message(entry) for entry in entries]

    async def _subscribe(self, wanted: list[Subscription], reference: dict[str, Any]) -> None:
        """Answer first: what follows are the states of what is subscribed to."""
        topics = {*self._connection.topics, *(subscription.topic for subscription in wanted)}
        if len(topics) > self._limits.max_subscriptions:
            raise RequestError(
                400, f"At most {self._limits.max_subscriptions} subscriptions a connection"
            )
        channels = [subscription.channel for subscription in wanted]
        self._connection.say({"type": "subscribed", "channels": channels, **reference})
        for subscription in wanted:
            await self._follow(subscription)

    def _unsubscribe(self, unwanted: list[Subscription]) -> dict[str, Any]:
        for subscription in unwanted:
            self._connection.topics.pop(subscription.topic, None)
            self._hub.leave(subscription.topic, self._connection)
        channels = [subscription.channel for subscription in unwanted]
        return {"type": "unsubscribed", "channels": channels}

    async def _follow(self, wanted: Subscription) -> None:
        """Join first and read then, so that nothing falls in between; send in order of time."""
        connection = self._connection
        await connection.drained()
        connection.topics[wanted.topic] = wanted.channel
        connection.hold()
        first: list[Frame] = []
        problem: str | None = None
        try:
            self._hub.join(wanted.topic, connection, wanted.interval_ms)
            first = await self._channels.opening(wanted)
        except TransientError:
            problem = "The current state cannot be read now; news follow as soon as there are any"
        finally:
            connection.release(first)
        if problem:
            connection.say({"type": "error", "error": problem, "channel": wanted.channel})


async def inbound(
    websocket: WebSocket, connection: Connection, max_per_s: float
) -> AsyncIterator[str | bytes]:
    """Yield what a client sends, until it disconnects or sends too much, which closes it (4429).

    Args:
        websocket: Where it is read.
        connection: Each message is a sign of life of it.
        max_per_s: Messages a second that are too much if exceeded.
    """
    allowance = Allowance(max_per_s)
    while True:
        event = await websocket.receive()
        if event["type"] != "websocket.receive":
            return
        now_s = asyncio.get_running_loop().time()
        connection.heard(now_s)
        if not allowance.take(now_s):
            connection.close(CLOSE_TOO_MANY, "too many messages")
            return
        yield event.get("text") or event.get("bytes") or ""


class Allowance:
    """How much a client may send: a full second's worth at once, refilled steadily."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._left = per_s
        self._at_s = 0.0

    def take(self, now_s: float) -> bool:
        """Use one message of the allowance; False if there is none left."""
        self._left = min(self._per_s, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
