# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from collector.binance.stream import StreamConnection, split
from collector.feed import stream_names
from simulator.testing import RunningExchange, running_exchange

NAMES = stream_names("BTCUSDT", 20, 0.5)


class Recorder:
    """Hears everything and remembers it."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.connected = 0
        self.lost: list[str] = []

    def on_message(self, text: str) -> bool:
        self.messages.append(text)
        return "serverShutdown" in text

    def on_connected(self, symbols: Sequence[str]) -> None:
        self.connected += 1

    def on_lost(self, symbols: Sequence[str], reason: str) -> None:
        self.lost.append(reason)


@asynccontextmanager
async def listening(
    exchange: RunningExchange,
    names: Sequence[str] = NAMES,
    recorder: Recorder | None = None,
    **bounds: float,
) -> AsyncIterator[tuple[Recorder, StreamConnection]]:
    recorder = recorder or Recorder()
    settings = SimpleNamespace(**{"stream_silence_s": 2, "stream_max_age_s": 1000, **bounds})
    async with aiohttp.ClientSession() as session:
        connection = StreamConnection(
            exchange.ws_url, session, ["BTCUSDT"], names, recorder, settings
        )
        keeping = asyncio.create_task(connection.keep())
        try:
            yield recorder, connection
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])


async def until(claim: Callable[[], bool], timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not claim():  # noqa: ASYNC110 - the other side is a socket, not an event
            await asyncio.sleep(0.02)


def of_stream(recorder: Recorder, name: str) -> list[str]:
    return [text for text in recorder.messages if f'"stream":"{name}"' in text]


async def test_every_stream_of_a_symbol_is_heard():
    async with running_exchange() as exchange, listening(exchange) as (recorder, connection):
        await until(lambda: all(of_stream(recorder, name) for name in NAMES))
        assert connection.silence_s() < 2
        assert (recorder.connected, recorder.lost) == (1, [])


async def test_more_streams_than_fit_into_an_address_are_subscribed_to():
    async with running_exchange(extra_symbols=60) as exchange:
        symbols = [f"SIM{number:03}USDT" for number in range(1, 61)]
        names = [f"{symbol.lower()}@depth5@100ms" for symbol in symbols]
        async with listening(exchange, names) as (recorder, _):
            await until(lambda: all(of_stream(recorder, name) for name in names))
            assert exchange.counters["connections_too_fast"] == 0


async def test_a_cut_connection_is_made_again():
    async with running_exchange() as exchange, listening(exchange) as (recorder, connection):
        await until(lambda: recorder.connected == 1)
        exchange.act("drop_streams")
        await until(lambda: recorder.connected == 2)
        assert len(recorder.lost) == 1
        assert connection.silence_s() < 2


async def test_a_connection_that_falls_silent_is_given_up():
    async with running_exchange() as exchange, listening(exchange) as (recorder, _):
        await until(lambda: recorder.connected == 1)
        exchange.act("silence_streams")
        await until(lambda: bool(recorder.lost))
        assert recorder.lost == ["stream: silent"]
        await until(lambda: recorder.connected == 2)


async def test_an_old_connection_goes_only_when_its_successor_hears():
    async with (
        running_exchange() as exchange,
        listening(exchange, stream_max_age_s=1.0) as (recorder, _),
    ):
        await until(lambda: recorder.connected == 3)
        assert recorder.lost == []
        kinds = of_stream(recorder, "btcusdt@depth20@100ms")
        assert len(kinds) > 15


async def test_an_announced_shutdown_is_not_waited_for():
    async with running_exchange() as exchange, listening(exchange) as (recorder, _):
        await until(lambda: recorder.connected == 1)
        exchange.act("server_shutdown", after_s=5.0)
        await until(lambda: recorder.connected == 2, 4)
        assert recorder.lost == []


async def test_an_exchange_that_is_away_is_waited_for():
    async with running_exchange() as exchange:
        exchange.act("down", seconds=2.0, mode="refuse")
        async with listening(exchange) as (recorder, connection):
            await until(lambda: recorder.connected == 1)
            assert recorder.lost
            assert connection.silence_s() < 2


def test_a_symbols_streams_share_a_connection_and_none_has_too_many():
    parts = split(["A", "B", "C"], lambda symbol: stream_names(symbol, 20, 1), 7)
    assert [symbols for symbols, _ in parts] == [["A", "B"], ["C"]]
    assert parts[1][1] == ["c@kline_1m", "c@trade", "c@depth20"]


class ShortLived:
    """A server of streams whose connections end as ``serve`` says; counts them."""

    def __init__(self, serve: Callable[[int, web.WebSocketResponse], Awaitable[None]]) -> None:
        self._serve = serve
        self.connections = 0

    async def answer(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        self.connections += 1
        number = self.connections
        await socket.prepare(request)
        with contextlib.suppress(ConnectionError):
            await self._serve(number, socket)
        return socket


@asynccontextmanager
async def hearing(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    recorder: Recorder,
    **bounds: float,
) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/stream", handler)
    async with TestServer(app) as server:
        place = SimpleNamespace(ws_url=str(server.make_url("")).rstrip("/").replace("http", "ws"))
        async with listening(place, recorder=recorder, **bounds):  # type: ignore[arg-type]
            yield


class AlwaysLate(Recorder):
    def on_message(self, text: str) -> bool:
        return True


async def send_for_ever(number: int, socket: web.WebSocketResponse) -> None:
    while True:
        await socket.send_str(f'{{"stream":"{number}"}}')
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ["closed after a message", "late from the first message"])
async def test_connections_that_do_no_good_are_not_made_ever_faster(kind):
    """The exchange bans whoever makes more than 300 connections in 5 minutes."""

    async def close_at_once(number: int, socket: web.WebSocketResponse) -> None:
        await socket.send_str("{}")
        await asyncio.sleep(0.05)
        await socket.close()

    is_late = kind.startswith("late")
    server = ShortLived(send_for_ever if is_late else close_at_once)
    async with hearing(server.answer, AlwaysLate() if is_late else Recorder()):
        await until(lambda: server.connections >= 2)
        await asyncio.sleep(2.0)
        assert server.connections < 12


async def test_an_old_connection_goes_on_while_its_successor_cannot_be_made():
    sends = ShortLived(send_for_ever)
    recorder = Recorder()
    attempts = 0

    async def only_first_and_last(request: web.Request) -> web.StreamResponse:
        nonlocal attempts
        attempts += 1
        if 1 < attempts < 4:
            return web.Response(status=503)
        return await sends.answer(request)

    async with hearing(only_first_and_last, recorder, stream_max_age_s=0.3):
        await until(lambda: recorder.connected >= 2)
        assert attempts >= 4
        assert recorder.lost == []
