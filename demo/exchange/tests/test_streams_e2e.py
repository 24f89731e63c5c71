# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Streams over real sockets: forms, control messages, rules, broken connections, replay."""

import asyncio
import json
import socket as socket_module
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
import websockets

from simulator.testing import RunningExchange, running_exchange

MINUTE_OPEN_MS = 1_779_999_960_000
Socket = websockets.ClientConnection
Levels = dict[str, str]


async def receive(socket: Socket) -> Any:
    return json.loads(await asyncio.wait_for(socket.recv(), 20))


async def eventually(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not claim():  # noqa: ASYNC110 - the other side is the exchange
            await asyncio.sleep(0.02)


async def collect(socket: Socket, seconds: float) -> list[Any]:
    messages, until_s = [], time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        try:
            messages.append(json.loads(await asyncio.wait_for(socket.recv(), left_s)))
        except TimeoutError:
            break
    return messages


async def say(socket: Socket, **message: object) -> Any:
    """Send a control message and return its answer, skipping streams."""
    await socket.send(json.dumps(message))
    while True:
        answer = await receive(socket)
        if "result" in answer or "code" in answer:
            return answer


def follow(side: Levels, changes: Iterable[tuple[str, str]]) -> None:
    for price, quantity in changes:
        if quantity == "0.00000000":
            side.pop(price, None)
        else:
            side[price] = quantity


def top(side: Levels, count: int, *, highest: bool) -> list[list[str]]:
    return [[p, side[p]] for p in sorted(side, key=float, reverse=highest)[:count]]


async def test_a_closing_kline_equals_the_rest_row(
    exchange: RunningExchange, http: aiohttp.ClientSession
) -> None:
    async with websockets.connect(f"{exchange.ws_url}/ws/btcusdt@kline_1m") as socket:
        while not (event := await receive(socket))["k"]["x"]:
            pass
    kline = event["k"]
    assert 0 < event["E"] - kline["T"] <= 101
    url = f"{exchange.rest_url}/api/v3/klines"
    query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": kline["t"], "limit": "1"}
    async with http.get(url, params=query) as answer:
        rows = await answer.json()
    assert rows == [[kline[name] for name in "tohlcvTqnVQB"]]
    assert exchange.truth_klines("BTCUSDT", kline["t"], kline["t"]) == rows


async def test_trades_of_the_stream_make_up_its_klines(exchange: RunningExchange) -> None:
    minute_ms = MINUTE_OPEN_MS
    exchange.set_now(minute_ms - 1_000)
    names = "btcusdt@trade/btcusdt@aggTrade/btcusdt@kline_1m/btcusdt@kline_1s"
    async with websockets.connect(f"{exchange.ws_url}/stream?streams={names}") as socket:
        messages = await collect(socket, 4)
    by_stream = defaultdict(list)
    for message in messages:
        by_stream[message["stream"]].append(message["data"])
    trades = by_stream["btcusdt@trade"]
    assert [t["t"] for t in trades] == [t["a"] for t in by_stream["btcusdt@aggTrade"]]
    ids = [t["t"] for t in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    running = [k for k in by_stream["btcusdt@kline_1m"] if k["k"]["t"] == minute_ms][-1]
    inside = [t for t in trades if minute_ms <= t["T"] <= running["E"]]
    assert inside
    assert running["k"]["n"] == len(inside)
    assert running["k"]["c"] == inside[-1]["p"]
    lots = sum(int(t["q"].replace(".", "")) for t in inside)
    assert int(running["k"]["v"].replace(".", "")) == lots
    seconds = [k["k"] for k in by_stream["btcusdt@kline_1s"] if k["k"]["x"]]
    assert [b["t"] - a["t"] for a, b in pairwise(seconds)] == [1_000] * (len(seconds) - 1)


async def test_diffs_on_a_rest_snapshot_give_the_partial_books_and_tickers(
    exchange: RunningExchange, http: aiohttp.ClientSession
) -> None:
    names = "btcusdt@depth@100ms/btcusdt@depth20@100ms/btcusdt@bookTicker/btcusdt@depth5"
    async with websockets.connect(f"{exchange.ws_url}/stream?streams={names}") as socket:
        await receive(socket)
        await asyncio.sleep(0.35)
        url = f"{exchange.rest_url}/api/v3/depth?symbol=BTCUSDT&limit=5000"
        async with http.get(url) as answer:
            snapshot = await answer.json()
        bids, asks = dict(snapshot["bids"]), dict(snapshot["asks"])
        update_id, compared = snapshot["lastUpdateId"], defaultdict(int)
        for message in await collect(socket, 2.5):
            name, data = message["stream"], message["data"]
            if name == "btcusdt@depth@100ms" and data["u"] > update_id:
                assert data["U"] <= update_id + 1
                follow(bids, data["b"])
                follow(asks, data["a"])
                update_id = data["u"]
            elif data.get("lastUpdateId") == update_id:
                count = len(data["bids"])
                assert data["bids"] == top(bids, count, highest=True)
                assert data["asks"] == top(asks, count, highest=False)
                compared[name] += 1
            elif name.endswith("bookTicker") and data["u"] == update_id:
                assert [[data["b"], data["B"]]] == top(bids, 1, highest=True)
                assert [[data["a"], data["A"]]] == top(asks, 1, highest=False)
                compared[name] += 1
    assert compared["btcusdt@depth20@100ms"] >= 10
    assert compared["btcusdt@bookTicker"] >= 10
    assert compared["btcusdt@depth5"] >= 1


async def test_slow_diffs_are_contiguous_and_come_every_second(exchange: RunningExchange) -> None:
    async with websockets.connect(f"{exchange.ws_url}/ws/ethusdt@depth") as socket:
        events = await collect(socket, 2.3)
    assert len(events) >= 2
    for before, after in pairwise(events):
        assert after["U"] == before["u"] + 1
        assert after["E"] - before["E"] == 1_000


async def test_every_form_of_address_works(exchange: RunningExchange) -> None:
    async with websockets.connect(f"{exchange.ws_url}/ws/btcusdt@depth5@100ms") as socket:
        assert set(await receive(socket)) == {"lastUpdateId", "bids", "asks"}
    url = f"{exchange.ws_url}/ws/btcusdt@depth5@100ms/ethusdt@bookTicker"
    async with websockets.connect(url) as socket:
        kinds = {tuple(await receive(socket)) for _ in range(4)}
        assert len(kinds) == 2
    async with websockets.connect(f"{exchange.ws_url}/stream?streams=btcusdt@bookTicker") as socket:
        message = await receive(socket)
        assert message["stream"] == "btcusdt@bookTicker"
        assert set(message["data"]) == set("usbBaA")
    url = f"{exchange.ws_url}/ws/btcusdt@aggTrade?timeUnit=MICROSECOND"
    async with websockets.connect(url) as socket:
        assert (await receive(socket))["T"] > 10**15


async def test_control_messages_and_their_errors(exchange: RunningExchange) -> None:
    async with websockets.connect(f"{exchange.ws_url}/ws") as socket:
        names = ["btcusdt@bookTicker", "ethusdt@depth5@100ms"]
        assert await say(socket, method="SUBSCRIBE", params=names, id=1) == {
            "result": None,
            "id": 1,
        }
        answer = await say(socket, method="LIST_SUBSCRIPTIONS", id="two")
        assert answer == {"result": names, "id": "two"}
        assert (await say(socket, method="GET_PROPERTY", params=["combined"], id=3))[
            "result"
        ] is False
        await say(socket, method="SET_PROPERTY", params=["combined", True], id=None)
        messages = [await receive(socket), *await collect(socket, 0.4)]
        assert {len(message) for message in messages} == {2}
    async with websockets.connect(f"{exchange.ws_url}/stream?streams=btcusdt@bookTicker") as socket:
        answer = await say(socket, method="UNSUBSCRIBE", params=["btcusdt@bookTicker"], id=4)
        assert answer == {"result": None, "id": 4}
        assert await collect(socket, 0.4) == []
        assert (await say(socket, method="NOPE", id=5))["code"] == 2
        assert (await say(socket, method="SUBSCRIBE", params="x", id=6))["code"] == 2
        await asyncio.sleep(0.7)
        assert (await say(socket, method="GET_PROPERTY", params=["x"], id=7))["code"] == 0
        assert (await say(socket, method="SET_PROPERTY", params=["combined", 1], id=8))["code"] == 1
        await socket.send("{")
        assert (await receive(socket))["code"] == 3


async def test_a_talkative_client_is_cut_off_and_in_the_end_banned(
    exchange: RunningExchange,
) -> None:
    for _ in range(3):
        async with websockets.connect(f"{exchange.ws_url}/ws") as socket:
            for number in range(6):
                await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await collect(socket, 2)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
    await asyncio.sleep(0.05)
    with pytest.raises(websockets.InvalidStatus, match="418"):
        await websockets.connect(f"{exchange.ws_url}/ws")


async def test_too_many_streams_end_the_connection(exchange: RunningExchange) -> None:
    names = [f"sim{number}usdt@trade" for number in range(1_025)]
    async with websockets.connect(f"{exchange.ws_url}/ws") as socket:
        await say(socket, method="SUBSCRIBE", params=names[:1_024], id=1)
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": names[1_024:], "id": 2}))
        with pytest.raises(websockets.ConnectionClosed):
            await collect(socket, 2)


async def test_too_many_connection_attempts_are_refused() -> None:
    async with running_exchange(symbols="BTCUSDT", max_connections_per_5m=2) as exchange:
        for _ in range(2):
            async with websockets.connect(f"{exchange.ws_url}/ws"):
                pass
        with pytest.raises(websockets.InvalidStatus, match="429"):
            await websockets.connect(f"{exchange.ws_url}/ws")


async def test_pings_carry_a_payload_and_only_their_echo_counts() -> None:
    async with (
        running_exchange(ping_interval_ms=250, pong_timeout_ms=600) as exchange,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{exchange.ws_url}/ws", autoping=False) as honest,
        http.ws_connect(f"{exchange.ws_url}/ws", autoping=False) as careless,
    ):
        await careless.pong(b"")
        while (await careless.receive(timeout=2)).type is aiohttp.WSMsgType.PING:
            await careless.pong(b"something else")
            echo = await honest.receive(timeout=2)
            assert echo.data.isdigit()
            await honest.pong(echo.data)
        assert careless.close_code == 1008
        assert not honest.closed
        assert exchange.counters["connections_without_pong"] == 1


async def test_a_connection_ends_when_its_day_is_over() -> None:
    async with (
        running_exchange(symbols="BTCUSDT", connection_lifetime_s=0.3) as exchange,
        websockets.connect(f"{exchange.ws_url}/ws/btcusdt@kline_1m") as socket,
    ):
        with pytest.raises(websockets.ConnectionClosed):
            await collect(socket, 2)


async def test_a_shutdown_is_announced_and_carried_out(exchange: RunningExchange) -> None:
    async with websockets.connect(f"{exchange.ws_url}/stream?streams=btcusdt@trade") as socket:
        await asyncio.sleep(0.1)
        exchange.act("server_shutdown", after_s=0.3)
        while (message := await receive(socket))["stream"] != "!serverShutdown":
            pass
        assert message["data"]["e"] == "serverShutdown"
        with pytest.raises(websockets.ConnectionClosed):
            await collect(socket, 2)


async def test_an_event_of_an_unknown_kind_can_be_sent(exchange: RunningExchange) -> None:
    async with websockets.connect(f"{exchange.ws_url}/stream") as socket:
        await say(socket, method="LIST_SUBSCRIPTIONS", id=1)
        exchange.act("send_event", event={"e": "somethingNew"})
        assert await receive(socket) == {"stream": "!newEvent", "data": {"e": "somethingNew"}}


async def test_connections_can_be_cut_or_fall_silent(exchange: RunningExchange) -> None:
    url = f"{exchange.ws_url}/ws/btcusdt@bookTicker"
    async with websockets.connect(url) as cut:
        await receive(cut)
        exchange.act("drop_streams")
        with pytest.raises(websockets.ConnectionClosedError):
            await collect(cut, 2)
    socket = await websockets.connect(url, close_timeout=0.1)
    await receive(socket)
    exchange.act("silence_streams")
    await collect(socket, 0.2)
    assert await collect(socket, 0.5) == []
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(await socket.ping(), 0.3)
    assert exchange.report()["connections"][0]["silent"]
    socket.transport.abort()
    async with websockets.connect(url) as fresh:
        await receive(fresh)


async def test_diffs_can_be_dropped_and_doubled(exchange: RunningExchange) -> None:
    async with websockets.connect(f"{exchange.ws_url}/ws/btcusdt@depth@100ms") as socket:
        await receive(socket)
        exchange.act("tamper_diffs", how="drop", count=2)
        exchange.act("tamper_diffs", how="duplicate", count=1)
        events = await collect(socket, 1.0)
    first_ids = [event["U"] for event in events]
    assert len(first_ids) == len(set(first_ids)) + 1
    holes = sum(b["U"] > a["u"] + 1 for a, b in pairwise(events))
    assert holes <= 1
    assert (exchange.counters["diffs_dropped"], exchange.counters["diffs_duplicated"]) == (2, 1)


async def test_a_late_close_comes_late_and_before_the_next_kline(
    exchange: RunningExchange,
) -> None:
    exchange.control(close_late_ms=800)
    async with websockets.connect(f"{exchange.ws_url}/ws/btcusdt@kline_1m") as socket:
        events = await collect(socket, 3.7)
    (closing,) = [event for event in events if event["k"]["x"]]
    assert 800 <= closing["E"] - closing["k"]["T"] <= 901
    opens = [event["k"]["t"] for event in events]
    assert opens == sorted(opens)
    assert opens[-1] == closing["k"]["t"] + 60_000


async def test_data_may_come_before_the_answer_to_subscribe(exchange: RunningExchange) -> None:
    exchange.control(delta_before_ack=True)
    async with websockets.connect(f"{exchange.ws_url}/ws") as socket:
        message = {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 1}
        await socket.send(json.dumps(message))
        assert (await receive(socket))["e"] == "depthUpdate"
        assert await receive(socket) == {"result": None, "id": 1}


async def test_a_minute_is_revised_after_its_close(exchange: RunningExchange) -> None:
    exchange.control(revision_rate=1.0, revision_delay_ms=500)
    async with websockets.connect(f"{exchange.ws_url}/ws/btcusdt@kline_1m") as socket:
        while not (event := await receive(socket))["k"]["x"]:
            pass
    kline = event["k"]
    assert exchange.truth_klines("BTCUSDT", kline["t"], kline["t"])[0][5] == kline["v"]
    await eventually(lambda: exchange.counters["minutes_revised"] == 6)
    (row,) = exchange.truth_klines("BTCUSDT", kline["t"], kline["t"])
    assert row[5] != kline["v"]
    assert row[8] == kline["n"]


async def test_streams_are_silent_during_an_outage_and_come_back(
    exchange: RunningExchange,
) -> None:
    start_ms = exchange.now_ms() + 400
    end_ms = start_ms + 1_300
    exchange.act("outage", start_ms=start_ms, end_ms=end_ms)
    names = "btcusdt@kline_1m/btcusdt@depth20@100ms/btcusdt@trade/btcusdt@depth@100ms"
    async with websockets.connect(f"{exchange.ws_url}/stream?streams={names}") as socket:
        while exchange.now_ms() < start_ms + 200:  # what was on its way
            await collect(socket, 0.05)
        heard = {(await receive(socket))["stream"]}
        assert exchange.now_ms() >= end_ms
        while not heard >= {"btcusdt@kline_1m", "btcusdt@depth20@100ms"}:
            heard.add((await receive(socket))["stream"])


async def test_a_minute_without_trades_closes_flat(exchange: RunningExchange) -> None:
    minute_ms = exchange.now_ms() // 60_000 * 60_000
    exchange.act("quiet", start_ms=minute_ms, end_ms=minute_ms + 60_000)
    async with websockets.connect(f"{exchange.ws_url}/ws/btcusdt@kline_1m") as socket:
        while not (event := await receive(socket))["k"]["x"]:
            pass
    kline = event["k"]
    assert (kline["f"], kline["L"], kline["n"], kline["v"]) == (-1, -1, 0, "0.00000000")
    assert kline["o"] == kline["h"] == kline["l"] == kline["c"]


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    async with running_exchange(symbols="BTCUSDT", mailbox_size=10) as exchange:
        port = int(exchange.ws_url.rpartition(":")[2])
        with socket_module.socket() as deaf:
            deaf.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, 4_096)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, ("127.0.0.1", port))
            request = "GET /ws/btcusdt@depth@100ms HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            request += "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            request += "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            await loop.sock_sendall(deaf, request.encode())
            for _ in range(100):  # each jump of the clock makes one large diff
                await asyncio.sleep(0.1)
                exchange.set_now(exchange.now_ms() + 250_000)
                if exchange.counters["connections_too_slow"]:
                    break
            assert exchange.counters["connections_too_slow"] == 1
            await eventually(lambda: exchange.report()["connections"] == [])
