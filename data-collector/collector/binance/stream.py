# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The exchange's combined streams: connections that are always there, replaced before they end.

A connection lives 24 hours at most, may fall silent without an error, and replays nothing after a
reconnect. So each has a watchdog, is replaced by a fresh one before its time is over or when the
exchange announces a shutdown, and whoever listens repairs by REST what a break has cost.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import aiohttp
import msgspec
import structlog

from linkora.backoff import Backoff
from linkora.errors import TransientError

log = structlog.get_logger(__name__)

NAMES_IN_URL = 50
NAMES_PER_MESSAGE = 100
# The exchange allows 5 messages a second from us, pongs included.
MESSAGE_SPACING_S = 0.3
CONNECT_TIMEOUT_S = 10.0
MAX_FRAME_BYTES = 4 * 1024 * 1024
CLOSE_TIMEOUT_S = 2.0
# A connection that lasts shorter counts as a failure: the next ones come ever later, as the
# exchange bans whoever makes more than 300 in 5 minutes.
STEADY_AFTER_S = 60.0


class StreamSettings(Protocol):
    """The bounds of a connection."""

    @property
    def stream_silence_s(self) -> float: ...  # noqa: D102
    @property
    def stream_max_age_s(self) -> float: ...  # noqa: D102


class StreamSink(Protocol):
    """Who hears the messages. Never waits: a slow listener must not slow the socket."""

    def on_message(self, text: str) -> bool:
        """Take one message; return True if the connection is to be replaced soon."""

    def on_connected(self, symbols: Sequence[str]) -> None:
        """Learn that these symbols are heard from now on; what came before may be missing."""

    def on_lost(self, symbols: Sequence[str], reason: str) -> None:
        """Learn that these symbols are not heard any more."""


class StreamConnection:
    """Keeps one connection with a fixed set of streams, for ever.

    Args:
        url: Such as ``wss://data-stream.binance.vision``.
        symbols: The symbols whose streams it carries.
        names: The streams, such as ``btcusdt@kline_1m``.
    """

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        symbols: Sequence[str],
        names: Sequence[str],
        sink: StreamSink,
        settings: StreamSettings,
    ) -> None:
        self._url = url
        self._session = session
        self._sink = sink
        self._settings = settings
        self._names = list(names)
        self.symbols = tuple(symbols)
        self._last_message = 0.0
        self._is_live = False

    def silence_s(self) -> float:
        """Return the seconds since the last message; infinite while not connected."""
        return time.monotonic() - self._last_message if self._is_live else float("inf")

    async def keep(self) -> None:
        """Connect, and replace every connection that ends or is about to."""
        backoff = Backoff()
        current: _Session | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                session = _Session()
                session.task = group.create_task(self._listen(session))
                await _first(session.ready, session.ended)
                is_steady = False
                if session.ready.is_set():
                    # The one before goes only now: its successor hears.
                    if current is not None and current.task is not None:
                        current.task.cancel()
                    current = session
                    is_steady = await self._hear(session)
                if current is None or current.ended.is_set():
                    current = None
                    self._lost(session.reason)
                if is_steady:
                    backoff.reset()
                else:
                    await asyncio.sleep(backoff.next_delay_s())

    async def _hear(self, session: "_Session") -> bool:
        """Return when the connection needs a successor: whether it has lasted well."""
        began_s = time.monotonic()
        self._is_live = True
        self._sink.on_connected(self.symbols)
        await _first(session.ended, session.retiring)
        return time.monotonic() - began_s >= STEADY_AFTER_S

    def _lost(self, reason: str) -> None:
        self._is_live = False
        self._sink.on_lost(self.symbols, reason)

    async def _listen(self, session: "_Session") -> None:
        try:
            await self._read(session)
        except TransientError as error:
            session.reason = str(error)
        except TimeoutError:
            session.reason = "stream: silent"
        except (aiohttp.ClientError, OSError) as error:
            session.reason = f"stream: {type(error).__name__}: {error}"
        finally:
            session.ended.set()

    async def _read(self, session: "_Session") -> None:
        url = f"{self._url}/stream?streams={'/'.join(self._names[:NAMES_IN_URL])}"
        retire_at = time.monotonic() + self._settings.stream_max_age_s
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            socket = await self._session.ws_connect(
                url,
                max_msg_size=MAX_FRAME_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
            )
        try:
            await self._subscribe(socket)
            while True:
                async with asyncio.timeout(self._settings.stream_silence_s):
                    message = await socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    raise TransientError(f"stream: closed ({socket.close_code})")
                self._last_message = time.monotonic()
                session.ready.set()
                if self._sink.on_message(message.data) or self._last_message > retire_at:
                    session.retiring.set()
        finally:
            await socket.close()

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        rest = self._names[NAMES_IN_URL:]
        for number, start in enumerate(range(0, len(rest), NAMES_PER_MESSAGE), 1):
            names = rest[start : start + NAMES_PER_MESSAGE]
            request = {"method": "SUBSCRIBE", "params": names, "id": number}
            await socket.send_str(msgspec.json.encode(request).decode())
            await asyncio.sleep(MESSAGE_SPACING_S)


class _Session:
    """What is known of one connection of the series."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()
        self.retiring = asyncio.Event()
        self.ended = asyncio.Event()
        self.reason = "stream: ended"


async def _first(*events: asyncio.Event) -> None:
    """Return as soon as one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def split(
    symbols: Sequence[str], names_of: Callable[[str], list[str]], most: int
) -> list[tuple[list[str], list[str]]]:
    """Return ``(symbols, streams)`` of each connection, a symbol's streams never apart."""
    parts: list[tuple[list[str], list[str]]] = []
    for symbol in symbols:
        names = names_of(symbol)
        if not parts or len(parts[-1][1]) + len(names) > most:
            parts.append(([], []))
        parts[-1][0].append(symbol)
        parts[-1][1].extend(names)
    return parts
