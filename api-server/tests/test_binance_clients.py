# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The real ccxt and python-binance against a running server, by one changed URL."""

import asyncio
import json
import warnings
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import msgspec
import pytest

from linkora import channels
from linkora.market import Trade
from linkora.messages import encode_trades, trade_message
from linkora.timeframes import HOUR_MS, MINUTE_MS, floor_minute_ms
from marketdata.binance_intervals import INTERVALS
from testkit.market import Collector, Server, book, minute, now_ms, running, until

with warnings.catch_warnings():  # it imports names that websockets calls old
    warnings.simplefilter("ignore", DeprecationWarning)
    from binance import AsyncClient, BinanceSocketManager
    from binance.ws.reconnecting_websocket import ReconnectingWebsocket

SYMBOL = "BTCUSDT"
# What the clients' own code does that Python or aiohttp call old is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def trade(number: int) -> Trade:
    return Trade(
        symbol=SYMBOL,
        id=number,
        price=Decimal(100 + number),
        quantity=Decimal("0.5"),
        time_ms=now_ms() - 1000 + number,
        is_buyer_maker=number % 2 == 0,
    )


@pytest.fixture
async def busy_server(collector: Collector, server: Server, redis_client: Any) -> Server:
    """A server that knows candles, a book and trades."""
    for number in range(1, 6):
        told = msgspec.json.encode(trade_message(trade(number)))
        await redis_client.lpush(channels.recent_trades_key(SYMBOL), told)
    await collector.store_book(book(SYMBOL, now_ms()))
    await collector.publish_books(book(SYMBOL, now_ms()))

    async def has_book() -> bool:
        async with server.client.get("/orderbook", params={"symbol": SYMBOL}) as response:
            return response.status == 200

    await until(has_book)
    return server


@pytest.fixture
async def exchange(busy_server: Server) -> AsyncIterator[Any]:
    client = ccxt.async_support.binance(
        {
            "urls": {"api": {"public": f"http://127.0.0.1:{busy_server.port}/api/v3"}},
            "options": {"fetchMarkets": {"types": ["spot"]}},
        }
    )
    yield client
    await client.close()


async def test_ccxt_reads_everything_public(exchange: Any, busy_server: Server) -> None:
    markets = await exchange.load_markets()
    assert set(markets) == {"BTC/USDT", "ETH/USDT"}
    assert markets["BTC/USDT"]["active"] is True
    assert abs(await exchange.fetch_time() - now_ms()) < 60_000

    rows = await exchange.fetch_ohlcv("BTC/USDT", "5m", limit=10)
    ours = await busy_server.get("/candles", symbol=SYMBOL, timeframe="5", limit=10)
    assert [row[0] for row in rows] == [row["timestamp"] for row in ours]
    assert [row[4] for row in rows] == [float(row["close_price"]) for row in ours]
    since = rows[3][0]
    later = await exchange.fetch_ohlcv("BTC/USDT", "5m", since=since, limit=2)
    assert [row[0] for row in later] == [since, since + 5 * MINUTE_MS]

    order_book = await exchange.fetch_order_book("BTC/USDT", limit=5)
    assert len(order_book["bids"]) == len(order_book["asks"]) == 5
    assert order_book["bids"][0][0] < order_book["asks"][0][0]

    trades = await exchange.fetch_trades("BTC/USDT", limit=3)
    assert [each["id"] for each in trades] == ["3", "4", "5"]
    assert trades[0]["side"] == "buy"

    ticker = await exchange.fetch_ticker("BTC/USDT")
    assert ticker["last"] == float(ours[-1]["close_price"])
    assert ticker["bid"] == order_book["bids"][0][0]
    assert set(await exchange.fetch_tickers()) == {"BTC/USDT", "ETH/USDT"}

    with pytest.raises(ccxt.BadSymbol):
        await exchange.fetch_ohlcv("BTC/USDT", "5m", params={"symbol": "NOPE"})


async def test_ccxt_reads_every_interval(exchange: Any) -> None:
    for interval in INTERVALS:
        rows = await exchange.fetch_ohlcv("BTC/USDT", interval, limit=2)
        assert rows, interval


async def test_python_binance_reads_everything_public(busy_server: Server) -> None:
    client = AsyncClient()
    client.API_URL = f"http://127.0.0.1:{busy_server.port}/api"
    try:
        assert await client.ping() == {}
        assert "serverTime" in await client.get_server_time()
        info = await client.get_symbol_info(SYMBOL)
        assert info is not None
        assert info["quoteAsset"] == "USDT"
        rows = await client.get_klines(symbol=SYMBOL, interval="1m", limit=3)
        assert [len(row) for row in rows] == [12] * 3
        start = rows[0][0]
        again = await client.get_historical_klines(SYMBOL, "1m", start_str=start, limit=3)
        assert [row[0] for row in again][:3] == [row[0] for row in rows]
        depth = await client.get_order_book(symbol=SYMBOL, limit=10)
        assert len(depth["bids"]) == 10
        assert (await client.get_symbol_ticker(symbol=SYMBOL))["symbol"] == SYMBOL
        assert len(await client.get_all_tickers()) == 2
        assert len(await client.get_recent_trades(symbol=SYMBOL, limit=2)) == 2
        assert (await client.get_aggregate_trades(symbol=SYMBOL))[-1]["a"] == 5
        day = await client.get_ticker(symbol=SYMBOL)
        assert Decimal(day["highPrice"]) >= Decimal(day["lowPrice"])
        assert (await client.get_orderbook_ticker(symbol=SYMBOL))["symbol"] == SYMBOL
    finally:
        await client.close_connection()


async def test_python_binance_follows_klines_and_trades(
    collector: Collector, busy_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its close waits for its own read to time out.
    monkeypatch.setattr(ReconnectingWebsocket, "TIMEOUT", 1)
    client = AsyncClient()
    manager: Any = BinanceSocketManager(client)
    manager.STREAM_URL = f"ws://127.0.0.1:{busy_server.port}/binance/"
    newest = minute(SYMBOL, floor_minute_ms(now_ms()))
    try:
        async with manager.kline_socket(SYMBOL, "1m") as klines:
            await until_followed(busy_server, 1)
            await collector.publish(newest)
            event = await klines.recv()
        assert (event["e"], event["s"]) == ("kline", SYMBOL)
        assert event["k"]["x"] is True
        assert event["k"]["c"] == f"{newest.close:.8f}"
        names = ["btcusdt@aggTrade", "btcusdt@depth5"]
        async with manager.multiplex_socket(names) as both:
            await until_followed(busy_server, 1)
            await collector.publisher.publish(
                [(channels.TRADES_ALL, lambda at: encode_trades(SYMBOL, [trade(9)], at))]
            )
            told = await both.recv()
            assert told["stream"] == "btcusdt@aggTrade"
            assert told["data"]["a"] == 9
            await collector.publish_books(book(SYMBOL, now_ms() + 1000))
            told = await both.recv()
            assert told["stream"] == "btcusdt@depth5"
            assert len(told["data"]["bids"]) == 5
    finally:
        await client.close_connection()


async def until_followed(server: Server, count: int) -> None:
    async def is_followed() -> bool:
        return bool((await server.get("/health"))["websocket_connections"] == count)

    await until(is_followed)


async def test_ccxt_pro_watches_candles_and_the_book(
    collector: Collector, busy_server: Server
) -> None:
    port = busy_server.port
    exchange = ccxt.pro.binance(
        {
            "urls": {
                "api": {
                    "public": f"http://127.0.0.1:{port}/api/v3",
                    "ws": {"spot": f"ws://127.0.0.1:{port}/binance/ws"},
                }
            },
            "options": {"fetchMarkets": {"types": ["spot"]}},
        }
    )
    stop = asyncio.Event()

    async def keep_telling() -> None:
        trades = 0
        while not stop.is_set():
            trades += 1
            newest = minute(SYMBOL, floor_minute_ms(now_ms()))
            await collector.publish(running(newest, trades=newest.trades + trades))
            await collector.publish_books(book(SYMBOL, now_ms()))
            await asyncio.sleep(0.1)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_telling())
            candles = await asyncio.wait_for(exchange.watch_ohlcv("BTC/USDT", "1m"), 20)
            order_book = await asyncio.wait_for(exchange.watch_order_book("BTC/USDT"), 20)
            stop.set()
    finally:
        await exchange.close()
    assert candles[-1][0] == floor_minute_ms(candles[-1][0])
    assert order_book["bids"][0][0] < order_book["asks"][0][0]


async def test_subscriptions_are_answered_as_binance_does(server: Server) -> None:
    async with server.client.ws_connect("/binance/ws") as socket:

        async def ask(message: Any) -> Any:
            await socket.send_str(message if isinstance(message, str) else json.dumps(message))
            return await socket.receive_json(timeout=5)

        name = "btcusdt@kline_1m"
        done = await ask({"method": "SUBSCRIBE", "params": [name], "id": 1})
        assert done == {"result": None, "id": 1}
        listed = await ask({"method": "LIST_SUBSCRIPTIONS", "id": "x"})
        assert listed == {"result": [name], "id": "x"}
        assert (await ask({"method": "GET_PROPERTY", "params": ["combined"], "id": 2}))[
            "result"
        ] is False
        await ask({"method": "SET_PROPERTY", "params": ["combined", True], "id": 3})
        assert (await ask({"method": "GET_PROPERTY", "params": ["combined"], "id": 4}))[
            "result"
        ] is True
        assert (await ask({"method": "LIST_SUBSCRIPTIONS", "id": 5}))["result"] == [name]
        refused = await ask({"method": "SUBSCRIBE", "params": ["btcusdt@nothing"], "id": 6})
        assert (refused["code"], refused["id"]) == (2, 6)
        assert (await ask("{"))["code"] == 3
        assert (await ask([1]))["code"] == 2
        await ask({"method": "UNSUBSCRIBE", "params": [name], "id": 7})
        assert (await ask({"method": "LIST_SUBSCRIPTIONS", "id": 8}))["result"] == []


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("klines", {}, -1102),
        ("klines", {"symbol": SYMBOL}, -1102),
        ("klines", {"symbol": SYMBOL, "interval": "7m"}, -1120),
        ("klines", {"symbol": SYMBOL, "interval": "1S"}, -1120),
        ("klines", {"symbol": "NOPE", "interval": "1m"}, -1121),
        ("klines", {"symbol": SYMBOL, "interval": "1m", "limit": "-1"}, -1100),
        ("klines", {"symbol": SYMBOL, "interval": "1m", "startTime": "x"}, -1100),
        ("depth", {"symbol": SYMBOL, "limit": "0"}, -1130),
        ("ticker/price", {"symbols": "BTCUSDT"}, -1100),
        ("ticker/price", {"symbols": '["BTCUSDT"]', "symbol": SYMBOL}, -1128),
        ("ticker/24hr", {"type": "TINY"}, -1100),
    ],
)
async def test_wrong_request_is_refused_with_binances_code(
    shared_server: Server, path: str, params: dict[str, str], code: int
) -> None:
    status, body = await shared_server.refused(f"/api/v3/{path}", **params)
    assert (status, body["code"]) == (400, code)


async def test_six_hours_are_made_of_whole_buckets(shared_server: Server) -> None:
    for interval, width_ms in (("6h", 6 * HOUR_MS), ("8h", 8 * HOUR_MS), ("12h", 12 * HOUR_MS)):
        rows = await shared_server.get("/api/v3/klines", symbol=SYMBOL, interval=interval, limit=3)
        hours = await shared_server.get("/api/v3/klines", symbol=SYMBOL, interval="1h", limit=100)
        for row in rows[1:]:
            inside = [hour for hour in hours if row[0] <= hour[0] < row[0] + width_ms]
            assert row[0] % width_ms == 0
            assert row[6] == row[0] + width_ms - 1
            assert row[1] == inside[0][1]
            assert Decimal(row[2]) == max(Decimal(hour[2]) for hour in inside)
            assert Decimal(row[5]) == sum(Decimal(hour[5]) for hour in inside)
            assert row[8] == sum(hour[8] for hour in inside)
        again = await shared_server.get(
            "/api/v3/klines", symbol=SYMBOL, interval=interval, startTime=rows[1][0] - 1, limit=1
        )
        assert again == [rows[1]]


async def test_bounds_are_inclusive_open_times(shared_server: Server) -> None:
    rows = await shared_server.get("/api/v3/klines", symbol=SYMBOL, interval="1m", limit=10)
    span = {"startTime": rows[2][0], "endTime": rows[5][0]}
    got = await shared_server.get("/api/v3/klines", symbol=SYMBOL, interval="1m", **span)
    assert got == rows[2:6]
