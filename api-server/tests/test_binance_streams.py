# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What Binance's streams say here, over a socket of a running server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from linkora import channels
from linkora.market import Trade
from linkora.messages import encode_trades, trade_message
from linkora.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, floor_minute_ms
from marketdata.binance_intervals import INTERVALS, SECOND, ZONED
from testkit.market import Collector, Server, book, minute, now_ms, receive, running, until

SYMBOL = "BTCUSDT"
LIMIT_S = 30


class Client:
    """One socket; events and answers in the order in which they came."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def ask(self, method: str, *params: Any, number: Any = 1) -> Any:
        request = {"method": method, "params": list(params), "id": number}
        await self._socket.send_json(request)
        while True:
            message = await receive(self._socket)
            if "id" in message and message["id"] == number:
                return message

    async def next(self) -> Any:
        return await receive(self._socket)

    async def say(self, text: str) -> Any:
        await self._socket.send_str(text)
        return await receive(self._socket)


@asynccontextmanager
async def client(server: Server, *streams: str, path: str = "ws") -> AsyncIterator[Client]:
    """Open a socket that follows ``streams``; what is waited for must come in time."""
    async with (
        asyncio.timeout(LIMIT_S),
        server.client.ws_connect(f"/binance/{path}") as socket,
    ):
        opened = Client(socket)
        if streams:
            assert await opened.ask("SUBSCRIBE", *streams) == {"result": None, "id": 1}
        yield opened


def trade(number: int, time_ms: int, price: int = 100) -> Trade:
    return Trade(
        symbol=SYMBOL,
        id=number,
        price=Decimal(price),
        quantity=Decimal("0.5"),
        time_ms=time_ms,
        is_buyer_maker=number % 2 == 0,
    )


async def publish_trades(collector: Collector, *trades: Trade) -> None:
    await collector.publisher.publish(
        [(channels.TRADES_ALL, lambda at: encode_trades(SYMBOL, list(trades), at))]
    )


async def test_seconds_close_when_a_later_trade_proves_them_whole(
    collector: Collector, server: Server
) -> None:
    start_ms = now_ms() // 1000 * 1000 - 10_000
    async with client(server, "btcusdt@kline_1s") as stream:
        await publish_trades(collector, trade(1, start_ms + 900))
        await publish_trades(collector, trade(2, start_ms + 1100, 7), trade(3, start_ms + 1200, 9))
        first = await stream.next()
        assert (first["k"]["t"], first["k"]["i"], first["k"]["x"]) == (start_ms + 1000, "1s", False)
        await publish_trades(collector, trade(4, start_ms + 3500, 8))
        closed = [await stream.next() for _ in range(2)]
    # The second of trade 1 began unheard; the third second was silent.
    whole, silent = (event["k"] for event in closed)
    assert (whole["t"], whole["x"], whole["n"]) == (start_ms + 1000, True, 2)
    assert whole["v"] == "1.00000000"
    assert [Decimal(whole[name]) for name in "ohlcq"] == [7, 9, 7, 9, 8]
    assert (silent["t"], silent["x"], silent["n"]) == (start_ms + 2000, True, 0)
    assert [Decimal(silent[name]) for name in "ohlcv"] == [9, 9, 9, 9, 0]


async def test_seconds_after_lost_trades_begin_anew_with_a_whole_one(
    collector: Collector, server: Server
) -> None:
    start_ms = now_ms() // 1000 * 1000 - 20_000
    async with client(server, "btcusdt@kline_1s") as stream:
        for number in (1, 2, 3, 5, 6, 7, 8):  # 4 is lost
            await publish_trades(collector, trade(number, start_ms + number * 1000))
        told = []
        while not told or told[-1] < start_ms + 7000:
            event = await stream.next()
            if event["k"]["x"]:
                told.append(event["k"]["t"])
    assert told == [start_ms + 2000, start_ms + 6000, start_ms + 7000]


async def test_rest_and_stream_tell_the_same_seconds(
    collector: Collector, server: Server, redis_client: Any
) -> None:
    start_ms = now_ms() // 1000 * 1000 - 30_000
    trades = [trade(n, start_ms + n * 400, 100 + n % 5) for n in range(1, 30)]
    kept = [msgspec.json.encode(trade_message(each)) for each in trades]
    await redis_client.lpush(channels.recent_trades_key(SYMBOL), *kept)
    rows = await server.get("/api/v3/klines", symbol=SYMBOL, interval="1s")
    assert [row[0] for row in rows] == [start_ms + t * 1000 for t in range(1, 12)]
    async with client(server, "btcusdt@kline_1s") as stream:
        await publish_trades(collector, *trades)
        closed = [(await stream.next())["k"] for _ in rows[:-1]]
    names = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
    assert [[k[name] for name in names] for k in closed] == rows[:-1]
    span = {"startTime": rows[2][0], "endTime": rows[6][0] + 999}
    got = await server.get("/api/v3/klines", symbol=SYMBOL, interval="1s", **span)
    assert got == rows[2:7]
    got = await server.get("/api/v3/klines", symbol=SYMBOL, interval="1s", limit=3)
    assert got == rows[-3:]
    got = await server.get("/api/v3/klines", symbol=SYMBOL, interval="1s", limit=3, **span)
    assert got == rows[2:5]
    assert await server.get("/api/v3/klines", symbol="ETHUSDT", interval="1s") == []


async def test_every_interval_is_told_on_its_grid(collector: Collector, server: Server) -> None:
    names = [name for name in (*INTERVALS, *ZONED, "1h@+08:00") if name != SECOND]
    newest = minute(SYMBOL, floor_minute_ms(now_ms()))
    async with client(server, *(f"btcusdt@kline_{name}" for name in names), path="stream") as both:
        await collector.publish(running(newest, trades=newest.trades + 1))
        told = {}
        while len(told) < len(names):
            event = await both.next()
            told[event["stream"].partition("_")[2]] = event["data"]["k"]
    assert set(told) == set(names)
    for name, kline in told.items():
        zone = {"timeZone": "8"} if "@" in name else {}
        interval = name.partition("@")[0]
        assert kline["i"] == interval
        rows = await server.get("/api/v3/klines", symbol=SYMBOL, interval=interval, limit=1, **zone)
        assert (kline["t"], kline["T"]) == (rows[0][0], rows[0][6]), name


@pytest.mark.parametrize(
    ("end_of_day_ms", "names"),
    [
        (12 * HOUR_MS, ("6h", "12h")),
        (16 * HOUR_MS, ("8h", "6h@+08:00", "12h@+08:00", "1d@+08:00")),
        (24 * HOUR_MS, ("6h", "8h", "12h", "1d")),
    ],
)
async def test_wide_klines_that_closed_unheard_are_told_after_the_hole(
    collector: Collector, start_server: Any, end_of_day_ms: int, names: tuple[str, ...]
) -> None:
    """Redis loses the message that closes a bucket; the database has it."""
    end_ms = (now_ms() - end_of_day_ms) // DAY_MS * DAY_MS + end_of_day_ms
    last = minute(SYMBOL, end_ms - MINUTE_MS)
    past = [minute(SYMBOL, end_ms - back * MINUTE_MS) for back in range(2, 100)]
    await collector.store([*past, running(last, trades=1)])
    streams = [f"btcusdt@kline_{name}" for name in names]
    async with start_server() as server, client(server, *streams, path="stream") as stream:
        await collector.tell(running(last, trades=2))
        assert (await stream.next())["data"]["k"]["x"] is False
        await collector.store([last])
        collector.publisher.skip(channels.CANDLES_ALL)
        await collector.publish(running(minute(SYMBOL, end_ms), trades=1))
        closed: dict[str, Any] = {}
        while set(closed) != set(streams):
            event = await stream.next()
            if event["data"]["k"]["x"]:
                closed[event["stream"]] = event["data"]["k"]
    for kline in closed.values():
        assert kline["T"] == end_ms - 1
        assert kline["n"] == sum(candle.trades for candle in [*past, last])


async def test_tickers_are_those_of_rest(collector: Collector, server: Server) -> None:
    await collector.publish_books(book(SYMBOL, now_ms()))
    streams = ["btcusdt@ticker", "btcusdt@miniTicker", "!ticker@arr", "!miniTicker@arr@3000ms"]
    async with client(server, *streams, path="stream") as stream:
        told = {}
        while len(told) < len(streams):
            event = await stream.next()
            told[event["stream"]] = event["data"]
    day = await server.get("/api/v3/ticker/24hr", symbol=SYMBOL)
    one = told["btcusdt@ticker"]
    assert one["e"] == "24hrTicker"
    pairs = {"c": "lastPrice", "h": "highPrice", "l": "lowPrice", "v": "volume", "q": "quoteVolume",
             "o": "openPrice", "n": "count", "b": "bidPrice", "A": "askQty"}  # fmt: skip
    assert {long: one[short] for short, long in pairs.items()} == {
        long: day[long] for long in pairs.values()
    }
    mini = told["btcusdt@miniTicker"]
    assert mini == {"e": "24hrMiniTicker"} | {name: mini[name] for name in "Escohlvq"}
    assert {each["s"] for each in told["!ticker@arr"]} == {SYMBOL, "ETHUSDT"}
    assert mini["c"] in {each["c"] for each in told["!miniTicker@arr@3000ms"]}


async def test_array_of_tickers_has_only_what_changed(collector: Collector, server: Server) -> None:
    newest = minute(SYMBOL, floor_minute_ms(now_ms()))
    async with client(server, "!miniTicker@arr") as stream:
        assert len(await stream.next()) == 2
        while True:  # unless a minute leaves the day just now, one symbol alone has changed
            newest = running(newest, volume=newest.volume + 1)
            await collector.tell(newest)
            if [each["s"] for each in await stream.next()] == [SYMBOL]:
                break


async def test_books_come_in_every_depth_and_as_changes(
    collector: Collector, server: Server
) -> None:
    first, second = book(SYMBOL, now_ms()), book(SYMBOL, now_ms() + 1)
    await collector.publish_books(first)
    streams = [f"btcusdt@depth{n}@100ms" for n in (5, 10, 20)]
    streams += ["btcusdt@depth", "btcusdt@bookTicker"]

    async def is_there() -> bool:
        async with server.client.get("/orderbook", params={"symbol": SYMBOL}) as response:
            return response.status == 200

    await until(is_there)
    async with client(server, *streams, path="stream") as stream:
        await collector.publish_books(second)
        told = {}
        while len(told) < len(streams):
            event = await stream.next()
            told[event["stream"]] = event["data"]
    for levels in (5, 10, 20):
        assert len(told[f"btcusdt@depth{levels}@100ms"]["bids"]) == levels
    changes = told["btcusdt@depth"]
    assert (changes["U"], changes["u"]) == (first.last_update_id + 1, second.last_update_id)
    ours = dict(first.bids) | {Decimal(price): Decimal(left) for price, left in changes["b"]}
    left = {price: quantity for price, quantity in ours.items() if quantity}
    assert left == dict(second.bids)
    assert told["btcusdt@bookTicker"]["b"] == f"{second.bids[0].price:.8f}"


async def test_deep_books_are_answered_as_deep_as_they_are(
    collector: Collector, server: Server
) -> None:
    deep = book(SYMBOL, now_ms() + 60_000, levels=150)
    await collector.publish_books(deep)

    async def levels(limit: int) -> int:
        body = await server.get("/api/v3/depth", symbol=SYMBOL, limit=limit)
        return len(body["bids"])

    async def is_deep() -> bool:
        return await levels(5000) == 150

    await until(is_deep)
    assert [await levels(n) for n in (1, 7, 100, 9999)] == [1, 7, 100, 150]


@pytest.mark.parametrize(
    "name",
    [
        "btcusdt@avgPrice",
        "b" * 51 + "@trade",
        "btcusdt@ticker_1h",
        "!ticker_1d@arr",
        "!bookTicker",
        "btcusdt@depth7",
        "btcusdt@depth5@10ms",
        "btcusdt@kline_7m",
        "btcusdt@kline_3d@+08:00",
        "btcusdt@kline_1s@+08:00",
        "btcusdt@kline_1d@+01:00",
        "btcusdt@kline_1m@100ms",
        "BTCUSDT@trade",
        "@trade",
        "nonsense",
        "",
    ],
)
async def test_stream_that_we_have_not_is_refused_and_costs_nothing_else(
    shared_server: Server, name: str
) -> None:
    async with client(shared_server, "btcusdt@trade") as stream:
        refused = await stream.ask("SUBSCRIBE", name, "btcusdt@bookTicker", number=6)
        assert (refused["code"], refused["id"]) == (2, 6)
        assert repr(name) in refused["msg"]
        listed = await stream.ask("LIST_SUBSCRIPTIONS", number="list")
        assert listed["result"] == ["btcusdt@trade", "btcusdt@bookTicker"]


async def test_stream_of_the_url_that_we_have_not_is_refused_too(shared_server: Server) -> None:
    for path in ("ws/btcusdt@avgPrice", "stream?streams=btcusdt@trade/btcusdt@avgPrice"):
        async with client(shared_server, path=path) as stream:
            refused = await stream.next()
            assert refused["code"] == 2
            assert "'btcusdt@avgPrice'" in refused["msg"]


@pytest.mark.usefixtures("lifted_recursion_limit")
async def test_subscriptions_are_answered_as_binance_does(shared_server: Server) -> None:
    name = "btcusdt@kline_1m"
    async with client(shared_server, name) as stream:
        again = await stream.ask("SUBSCRIBE", name, number=None)
        assert again == {"result": None, "id": None}
        assert (await stream.ask("LIST_SUBSCRIPTIONS", number="x"))["result"] == [name]
        assert (await stream.ask("GET_PROPERTY", "combined", number=2))["result"] is False
        await stream.ask("SET_PROPERTY", "combined", True, number=3)
        assert (await stream.ask("GET_PROPERTY", "combined", number=4))["result"] is True
        assert (await stream.ask("LIST_SUBSCRIPTIONS", number=5))["result"] == [name]
        assert (await stream.ask("NONSENSE", number=6))["code"] == 2
        assert (await stream.say("{"))["code"] == 3
        assert (await stream.say('{"method": "x", "params": ' + "[" * 60_000))["code"] == 3
        assert (await stream.say(json.dumps([1])))["code"] == 2
        await stream.ask("UNSUBSCRIBE", name, number=7)
        assert (await stream.ask("LIST_SUBSCRIPTIONS", number=8))["result"] == []


async def test_nothing_is_told_after_unsubscribing(collector: Collector, server: Server) -> None:
    async with client(server, "btcusdt@trade", "btcusdt@aggTrade") as stream:
        await stream.ask("UNSUBSCRIBE", "btcusdt@trade", number=2)
        await publish_trades(collector, trade(9, now_ms()))
        event = await stream.next()
        assert (event["e"], event["a"], event["f"], event["l"]) == ("aggTrade", 9, 9, 9)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.next(), 0.3)
