# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from aiohttp import WSMsgType

from linkora.timeframes import MINUTE_MS, floor_minute_ms
from testkit.market import Collector, Server, book, minute, now_ms, receive, running, until


def changed(candle: Any, **values: Any) -> Any:
    return msgspec.structs.replace(candle, **values)


async def closing(socket: Any) -> tuple[int, str]:
    """Read up to the close; return its code and reason."""
    while True:
        message = await socket.receive(timeout=5)
        if message.type is WSMsgType.CLOSE:
            return message.data, message.extra
        assert message.type is WSMsgType.TEXT, message


async def test_first_message_is_the_running_candle(server: Server) -> None:
    async with server.ws(symbol="BTCUSDT", timeframe="5") as socket:
        candle = await receive(socket)
    rows = await server.get("/candles", symbol="BTCUSDT", timeframe="5", limit=1)
    assert candle["symbol"] == "BTCUSDT"
    assert candle["timeframe"] == "5"
    assert candle["timestamp"] == rows[0]["timestamp"]
    assert candle["close"] == rows[0]["close_price"]
    assert candle["volume"] == rows[0]["volume"]


async def test_without_a_symbol_every_symbol_is_told(server: Server) -> None:
    async with server.ws() as socket:
        told = [await receive(socket), await receive(socket)]
    assert {candle["symbol"] for candle in told} == {"BTCUSDT", "ETHUSDT"}
    assert {candle["timeframe"] for candle in told} == {"1"}


async def test_closing_arrives_at_once_and_open_states_at_the_interval(
    collector: Collector, server: Server
) -> None:
    newest = minute("BTCUSDT", floor_minute_ms(now_ms()))
    async with server.ws(symbol="BTCUSDT", timeframe="1") as socket:
        await receive(socket)
        await collector.publish(running(newest, trades=newest.trades + 1))
        assert (await receive(socket))["trades"] == newest.trades + 1
        await collector.publish(running(newest, trades=newest.trades + 2))
        await collector.publish(changed(newest, trades=newest.trades + 3))
        message = await receive(socket, timeout_s=2)
        assert message["is_closed"] is True
        assert message["trades"] == newest.trades + 3


async def test_republished_minute_replaces_itself_in_every_timeframe(
    collector: Collector, server: Server
) -> None:
    newest = minute("BTCUSDT", floor_minute_ms(now_ms()))
    async with server.ws(symbol="BTCUSDT", timeframe="1D", interval="0.5") as socket:
        first = await receive(socket)
        for extra in range(1, 4):
            await collector.tell(
                running(newest, volume=newest.volume + extra, trades=newest.trades + extra)
            )
        while True:
            message = await receive(socket)
            if message["trades"] == first["trades"] + 3:
                break
    assert Decimal(message["volume"]) == Decimal(first["volume"]) + 3


async def test_order_book_is_the_object_of_rest(collector: Collector, server: Server) -> None:
    async with server.ws(symbol="btcusdt", type="orderbook") as socket:
        await until(lambda: server_follows(server))
        await collector.publish_books(book("BTCUSDT", now_ms()))
        message = await receive(socket)
        assert message.pop("channel") == "orderbook"
        assert message == await server.get("/orderbook", symbol="BTCUSDT")


async def server_follows(server: Server) -> bool:
    return bool((await server.get("/health"))["websocket_connections"])


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"timeframe": "7"}, "Invalid timeframe. Supported: "),
        ({"type": "tickers"}, "Invalid type. Supported: "),
        ({"interval": "0.1"}, "interval must be between 0.5 and 3600 seconds"),
        ({"type": "orderbook", "levels": "7"}, "Invalid levels. Supported: [5, 10, 20]"),
    ],
)
async def test_wrong_parameter_closes_with_1008(
    server: Server, params: dict[str, str], reason: str
) -> None:
    async with server.ws(**params) as socket:
        code, text = await closing(socket)
    assert code == 1008
    assert text.startswith(reason)


async def test_ping_is_answered_by_pong(server: Server) -> None:
    async with server.ws(symbol="BTCUSDT") as socket:
        await receive(socket)
        await socket.send_json({"type": "ping", "timestamp": 1})
        assert (await receive(socket))["type"] == "pong"


async def test_heartbeat_carries_the_last_seq(collector: Collector, start_server: Any) -> None:
    await collector.fill(["BTCUSDT"], minutes=3)
    async with start_server(websocket={"ping_interval_s": 0.3}) as server:
        newest = running(minute("BTCUSDT", floor_minute_ms(now_ms())))
        await collector.publish(newest)
        async with server.ws(symbol="BTCUSDT", type="orderbook") as socket:
            message = await receive(socket)
            while "seq" not in message:
                message = await receive(socket)
    assert message["type"] == "heartbeat"
    assert message["seq"] == 1
    assert abs(message["timestamp"] - now_ms()) < 10_000


async def test_silent_client_is_closed_and_one_that_sends_anything_is_not(
    collector: Collector, start_server: Any
) -> None:
    await collector.fill(["BTCUSDT"], minutes=3)
    limits = {"pong_timeout_s": 0.6, "cleanup_interval_s": 0.1}
    async with (
        start_server(websocket=limits) as server,
        server.ws(type="orderbook") as silent,
        server.ws(type="orderbook") as talking,
    ):
        for _ in range(5):
            await talking.ping()  # a protocol frame, no message
            await talking.send_json({"type": "pong"})
            with pytest.raises(TimeoutError):
                await talking.receive(timeout=0.25)
        code, reason = await closing(silent)
    assert code == 4408
    assert reason == "no sign of life for 0.6 s"


async def test_next_minute_rolls_the_buckets_over(collector: Collector, server: Server) -> None:
    newest_ms = floor_minute_ms(now_ms())
    async with server.ws(symbol="BTCUSDT", timeframe="1", interval="0.5") as socket:
        await receive(socket)
        await collector.tell(minute("BTCUSDT", newest_ms))
        closed = await receive(socket)
        await collector.tell(running(minute("BTCUSDT", newest_ms + MINUTE_MS)))
        opened = await receive(socket)
    assert (closed["timestamp"], closed["is_closed"]) == (newest_ms, True)
    assert (opened["timestamp"], opened["is_closed"]) == (newest_ms + MINUTE_MS, False)
    rows = await server.get("/candles", symbol="BTCUSDT", timeframe="1", limit=2)
    assert [row["timestamp"] for row in rows] == [newest_ms, newest_ms + MINUTE_MS]
