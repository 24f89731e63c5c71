# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import socket
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import pytest
from aiohttp import WSMsgType

from linkora.channels import TRADES_ALL
from linkora.market import Trade
from linkora.messages import encode_trades
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


async def ask(socket: Any, **message: Any) -> Any:
    await socket.send_json(message)
    return await receive(socket)


async def test_one_connection_carries_many_subscriptions(
    collector: Collector, server: Server
) -> None:
    await collector.publish_books(book("ETHUSDT", now_ms()))
    channels = [
        {"type": "candles", "symbol": "BTCUSDT", "timeframe": "5"},
        {"type": "candles", "symbol": "BTCUSDT", "timeframe": "1H"},
        {"type": "orderbook", "symbol": "ethusdt", "levels": 5},
    ]
    async with server.ws(type="none") as socket:
        done = await ask(socket, type="subscribe", channels=channels, id=7)
        assert (done["type"], done["id"]) == ("subscribed", 7)
        assert len(done["channels"]) == 3
        first = [await receive(socket) for _ in range(3)]
        assert [message.get("timeframe") for message in first] == ["5", "1H", None]
        assert len(first[2]["bids"]) == 5
        listed = await ask(socket, type="list")
        assert [each.get("timeframe") for each in listed["channels"]] == ["5", "1H", None]
        gone = await ask(socket, type="unsubscribe", channels=channels[:2], id="x")
        assert (gone["type"], gone["id"]) == ("unsubscribed", "x")
        assert len((await ask(socket, type="list"))["channels"]) == 1
        await collector.publish(minute("BTCUSDT", floor_minute_ms(now_ms())))
        await collector.publish_books(book("ETHUSDT", now_ms() + 1))
        assert (await receive(socket))["channel"] == "orderbook"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("{", "A message is a JSON object"),
        ("[]", "A message is a JSON object"),
        ("[" * 60_000, "A message is a JSON object"),
        ('{"type": "dance"}', "Invalid type. Supported: subscribe"),
        ('{"type": "subscribe"}', "channels must be a list of objects"),
        ('{"type": "subscribe", "channels": []}', "channels must have 1 to 1000 entries"),
        ('{"type": "subscribe", "channels": [{"type": "x"}]}', "Invalid type. Supported: "),
        ('{"type": "subscribe", "channels": [{"symbol": "NOPE"}]}', "Unknown symbol: NOPE"),
        ('{"type": "subscribe", "channels": [{"symbol": {}}]}', "The fields of a channel are"),
        (
            '{"type": "subscribe", "channels": [{"timeframe": "9"}]}',
            "Invalid timeframe. Supported: ",
        ),
    ],
)
@pytest.mark.usefixtures("lifted_recursion_limit")
async def test_mistake_is_answered_and_the_connection_stays(
    shared_server: Server, message: str, error: str
) -> None:
    async with shared_server.ws(type="none") as socket:
        await socket.send_str(message)
        answer = await receive(socket)
        assert answer["type"] == "error"
        assert answer["error"].startswith(error)
        assert (await ask(socket, type="ping"))["type"] == "pong"


async def test_resume_sends_the_missed_closings_first(shared_server: Server) -> None:
    rows = await shared_server.get("/candles", symbol="BTCUSDT", timeframe="5", limit=4)
    since = str(rows[1]["timestamp"] + 1000)  # any time inside that candle
    async with shared_server.ws(symbol="BTCUSDT", timeframe="5", since=since) as socket:
        got = [await receive(socket) for _ in range(3)]
    assert [message["timestamp"] for message in got] == [row["timestamp"] for row in rows[1:]]
    assert [message["is_closed"] for message in got] == [True, True, False]
    assert got[0]["close"] == rows[1]["close_price"]


async def test_resume_over_too_long_a_time_says_so(shared_server: Server) -> None:
    async with shared_server.ws(symbol="BTCUSDT", timeframe="1", since="0") as socket:
        answer = await receive(socket)
        assert answer["type"] == "error"
        assert "read /candles first" in answer["error"]
        assert (await receive(socket))["channel"] == "candles"


async def test_connections_of_one_address_are_limited(start_server: Any) -> None:
    async with (
        start_server(websocket={"max_connections_per_address": 1}) as server,
        server.ws() as first,
        server.ws() as second,
    ):
        assert await closing(second) == (4429, "too many connections from this address")
        assert (await ask(first, type="ping"))["type"] == "pong"


async def test_subscriptions_of_one_connection_are_limited(
    collector: Collector, start_server: Any
) -> None:
    async with (
        start_server(websocket={"max_subscriptions": 2}) as server,
        server.ws(type="none") as socket,
    ):
        channels = [{"timeframe": name} for name in ("1", "3")]
        assert (await ask(socket, type="subscribe", channels=channels))["type"] == "subscribed"
        refused = await ask(socket, type="subscribe", channels=[{"timeframe": "5"}])
        assert refused["error"] == "At most 2 subscriptions a connection"


async def test_too_long_a_message_closes_with_1009(shared_server: Server) -> None:
    async with shared_server.ws(type="none") as socket:
        await socket.send_str("x" * 70_000)
        assert (await closing(socket))[0] == 1009


async def test_too_many_messages_close_the_connection(start_server: Any) -> None:
    async with (
        start_server(websocket={"max_messages_per_s": 5}) as server,
        server.ws(type="none") as socket,
    ):
        for _ in range(10):
            await socket.send_json({"type": "pong"})
        assert await closing(socket) == (4429, "too many messages")


async def slow_client(server: Server, path: str) -> tuple[asyncio.StreamReader, Any]:
    """Open a socket by hand that can take almost nothing before it is read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_slow_client_gets_the_newest_state_and_costs_the_others_nothing(
    collector: Collector, server: Server
) -> None:
    reader, writer = await slow_client(server, "/ws?type=orderbook&symbol=BTCUSDT")
    count, first_ms = 4000, now_ms()
    async with server.ws(type="orderbook", symbol="BTCUSDT") as quick:
        await until(lambda: follows(server, 2))
        for start in range(0, count, 500):
            await collector.publish_books(
                *(book("BTCUSDT", first_ms + i) for i in range(start, start + 500))
            )
            while (await receive(quick))["timestamp"] != first_ms + start + 499:
                pass  # the quick one has them all by now
    got = b""
    last = b'"timestamp":%d,' % (first_ms + count - 1)
    while last not in got:
        got = got[-1000:] + await asyncio.wait_for(reader.read(65_536), 10)
    writer.close()


async def follows(server: Server, count: int) -> bool:
    return bool((await server.get("/health"))["websocket_connections"] == count)


async def test_client_past_its_bound_is_closed_as_too_slow(
    collector: Collector, start_server: Any
) -> None:
    await collector.fill(["BTCUSDT"], minutes=3)
    async with start_server(websocket={"mailbox_limit": 50}) as server:
        reader, writer = await slow_client(server, "/ws?type=trades&symbol=BTCUSDT")
        await until(lambda: follows(server, 1))
        trades = [
            Trade(
                symbol="BTCUSDT",
                id=i,
                price=Decimal(1),
                quantity=Decimal(1),
                time_ms=now_ms(),
                is_buyer_maker=False,
            )
            for i in range(200)
        ]
        told = partial(encode_trades, "BTCUSDT", trades)
        for _ in range(60):  # 200 KB each time, till all buffers on the way are full
            await collector.publisher.publish([(TRADES_ALL, told)] * 10)
            if await is_closed_by_server(server):
                break
        assert await is_closed_by_server(server)
        writer.close()
        assert reader


async def is_closed_by_server(server: Server) -> bool:
    async with server.client.get("/metrics") as response:
        return 'websocket_closed_by_server_total{code="4413"} 1.0' in await response.text()


async def test_open_states_come_at_the_interval_that_was_asked_for(
    collector: Collector, server: Server
) -> None:
    newest = minute("BTCUSDT", floor_minute_ms(now_ms()))
    loop = asyncio.get_running_loop()
    async with server.ws(symbol="BTCUSDT", timeframe="1", interval="0.5") as socket:
        await receive(socket)
        for extra in range(1, 6):
            await collector.publish(running(newest, trades=newest.trades + extra))
        began_s = loop.time()
        seen = [(await receive(socket))["trades"]]
        while seen[-1] != newest.trades + 5:
            seen.append((await receive(socket))["trades"])
        took_s = loop.time() - began_s
    assert len(seen) == 2  # the first at once, then only the newest
    assert 0.3 < took_s < 2


async def test_resume_works_for_a_subscription_by_message(shared_server: Server) -> None:
    rows = await shared_server.get("/candles", symbol="BTCUSDT", timeframe="1H", limit=3)
    channel = {"symbol": "BTCUSDT", "timeframe": "1H", "since": rows[0]["timestamp"]}
    async with shared_server.ws(type="none") as socket:
        assert (await ask(socket, type="subscribe", channels=[channel]))["type"] == "subscribed"
        got = [await receive(socket) for _ in range(3)]
    assert [message["timestamp"] for message in got] == [row["timestamp"] for row in rows]


def test_times_and_limits_are_the_agreed_ones_by_default() -> None:
    from linkora.settings import HttpSettings, WebSocketSettings
    from marketdata.settings import Settings

    sockets = WebSocketSettings()
    assert (sockets.ping_interval_s, sockets.pong_timeout_s) == (30, 60)
    fields = Settings.model_fields
    assert fields["websocket_update_interval"].default == 5.0
    assert (fields["api_port"].default, fields["api_host"].default) == (8022, "127.0.0.1")
    assert HttpSettings().rate_limit == 1200
    assert HttpSettings().cors_origins == "*"
    assert HttpSettings().trusted_proxy_list == []
