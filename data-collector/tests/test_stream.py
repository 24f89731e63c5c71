# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp

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
    exchange: RunningExchange, names: Sequence[str] = NAMES, **bounds: float
) -> AsyncIterator[tuple[Recorder, StreamConnection]]:
    recorder = Recorder()
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
