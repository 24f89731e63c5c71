# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The real ccxt and python-binance against a running server, by one changed URL."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import msgspec
import pytest

from linkora import channels
from linkora.market import Trade
from linkora.messages import encode_trades, trade_message
from linkora.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, floor_minute_ms
from marketdata.binance_intervals import INTERVALS, SECOND
from testkit.market import Collector, Server, book, minute, now_ms, running, until
from testkit.services import meanwhile

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
        time_ms=now_ms() - 10_000 + number * 700,
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


async def test_ccxt_reads_every_timeframe_that_it_lists(exchange: Any, busy_server: Server) -> None:
    assert set(exchange.timeframes.values()) == {SECOND, *INTERVALS}
    for timeframe, interval in exchange.timeframes.items():
        rows = await exchange.fetch_ohlcv("BTC/USDT", timeframe, limit=2)
        raw = await busy_server.get("/api/v3/klines", symbol=SYMBOL, interval=interval, limit=2)
        assert rows == [[row[0], *map(float, row[1:6])] for row in raw], timeframe
        assert rows, timeframe
    seconds = await exchange.fetch_ohlcv("BTC/USDT", "1s")
    assert [b[0] - a[0] for a, b in pairwise(seconds)] == [1000] * (len(seconds) - 1)
    days = await exchange.fetch_ohlcv("BTC/USDT", "1d", params={"timeZone": "8"})
    assert {row[0] % DAY_MS for row in days} == {16 * HOUR_MS}


async def test_ccxt_reads_tickers_of_all_and_of_some(exchange: Any) -> None:
    every = await exchange.fetch_tickers()
    some = await exchange.fetch_tickers(["ETH/USDT"])
    assert (set(every), set(some)) == ({"BTC/USDT", "ETH/USDT"}, {"ETH/USDT"})
    assert every["BTC/USDT"]["high"] >= every["BTC/USDT"]["last"] >= every["BTC/USDT"]["low"]
    prices = await exchange.fetch_last_prices()
    assert prices["BTC/USDT"]["price"] == every["BTC/USDT"]["last"]
    best = await exchange.fetch_bids_asks(["BTC/USDT"])
    assert best["BTC/USDT"]["bid"] == every["BTC/USDT"]["bid"]


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
        names = [name for name in dir(client) if name.startswith("KLINE_INTERVAL_")]
        intervals = [getattr(client, name) for name in names]
        assert set(intervals) == {SECOND, *INTERVALS}
        for interval in intervals:
            assert await client.get_klines(symbol=SYMBOL, interval=interval, limit=2), interval
        shifted = await client.get_klines(symbol=SYMBOL, interval="1d", timeZone="-3:30", limit=1)
        assert shifted[0][0] % DAY_MS == 3 * HOUR_MS + 30 * MINUTE_MS
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


@asynccontextmanager
async def telling(collector: Collector) -> AsyncIterator[None]:
    """Tell new states of everything ten times a second, meanwhile."""

    async def keep() -> None:
        for count in range(1, 1000):
            newest = minute(SYMBOL, floor_minute_ms(now_ms()))
            more = {"trades": newest.trades + count, "volume": newest.volume + count}
            await collector.tell(running(newest, **more))
            await collector.publish_books(book(SYMBOL, now_ms()))
            told = msgspec.structs.replace(trade(100 + count), time_ms=now_ms())
            await collector.publisher.publish(
                [(channels.TRADES_ALL, partial(encode_trades, SYMBOL, [told]))]
            )
            await asyncio.sleep(0.1)

    async with meanwhile(keep()):
        yield


SOCKETS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "kline": (lambda m: m.kline_socket(SYMBOL, "1m"), lambda told: told["k"]["i"] == "1m"),
    "kline_1s": (lambda m: m.kline_socket(SYMBOL, "1s"), lambda told: told["k"]["i"] == "1s"),
    "kline_3d": (lambda m: m.kline_socket(SYMBOL, "3d"), lambda told: told["k"]["i"] == "3d"),
    "depth": (lambda m: m.depth_socket(SYMBOL), lambda told: told["e"] == "depthUpdate"),
    "depth10": (lambda m: m.depth_socket(SYMBOL, depth="10"), lambda told: len(told["bids"]) == 10),
    "trade": (lambda m: m.trade_socket(SYMBOL), lambda told: told["t"] > 100),
    "aggTrade": (lambda m: m.aggtrade_socket(SYMBOL), lambda told: told["a"] == told["f"]),
    "bookTicker": (lambda m: m.symbol_book_ticker_socket(SYMBOL), lambda told: told["s"] == SYMBOL),
    "ticker": (lambda m: m.symbol_ticker_socket(SYMBOL), lambda told: told["e"] == "24hrTicker"),
    "miniTicker": (lambda m: m.symbol_miniticker_socket(SYMBOL), lambda told: told["s"] == SYMBOL),
    "!ticker": (lambda m: m.ticker_socket(), lambda told: {each["s"] for each in told} >= {SYMBOL}),
    "!miniTicker": (lambda m: m.miniticker_socket(), lambda told: told[0]["e"] == "24hrMiniTicker"),
    "combined": (
        lambda m: m.multiplex_socket(["btcusdt@trade", "btcusdt@depth5"]),
        lambda told: told["stream"].removeprefix("btcusdt@") in {"trade", "depth5"},
    ),
}  # fmt: skip


async def test_python_binance_follows_every_stream(
    collector: Collector, busy_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its close waits for its own read to time out.
    monkeypatch.setattr(ReconnectingWebsocket, "TIMEOUT", 0.2)
    client = AsyncClient()
    manager: Any = BinanceSocketManager(client)
    manager.STREAM_URL = f"ws://127.0.0.1:{busy_server.port}/binance/"

    async def follow(name: str) -> None:
        opened, is_right = SOCKETS[name]
        async with opened(manager) as socket:
            told = await asyncio.wait_for(first_message(socket), 20)
        assert is_right(told), (name, told)

    try:
        async with telling(collector), asyncio.TaskGroup() as group:
            for name in SOCKETS:
                group.create_task(follow(name))
    finally:
        await client.close_connection()


async def first_message(socket: Any) -> Any:
    """Return what comes first; ``recv`` gives nothing where nothing came in its time."""
    told = None
    while told is None:
        told = await socket.recv()
    return told


@pytest.fixture
async def watching(busy_server: Server) -> AsyncIterator[Any]:
    """Return ccxt.pro's client of the server."""
    port = busy_server.port
    client = ccxt.pro.binance(
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
    yield client
    await client.close()


async def test_ccxt_pro_watches_every_timeframe(collector: Collector, watching: Any) -> None:
    watch = watching.watch_ohlcv
    async with telling(collector), asyncio.timeout(30):
        told = await asyncio.gather(*(watch("BTC/USDT", name) for name in watching.timeframes))
    for timeframe, rows in zip(watching.timeframes, told, strict=True):
        frame = INTERVALS.get(timeframe)
        open_ms = rows[-1][0]
        assert open_ms == (frame.open_ms(open_ms) if frame else open_ms // 1000 * 1000)


async def test_ccxt_pro_watches_days_of_asia(collector: Collector, watching: Any) -> None:
    async with telling(collector), asyncio.timeout(20):
        rows = await watching.watch_ohlcv("BTC/USDT", "1d", params={"timezone": "+08:00"})
    assert rows[-1][0] % DAY_MS == 16 * HOUR_MS


async def test_ccxt_pro_watches_book_trades_and_tickers(
    collector: Collector, watching: Any
) -> None:
    async with telling(collector), asyncio.timeout(30):
        order_book = await watching.watch_order_book("BTC/USDT")
        trades = await watching.watch_trades("BTC/USDT")
        ticker = await watching.watch_ticker("BTC/USDT", params={"name": "ticker"})
        mini = await watching.watch_ticker("BTC/USDT", params={"name": "miniTicker"})
        every = await watching.watch_tickers()
        best = await watching.watch_bids_asks(["BTC/USDT"])
    assert order_book["bids"][0][0] < order_book["asks"][0][0]
    assert trades[-1]["symbol"] == "BTC/USDT"
    assert ticker["high"] >= ticker["last"] >= ticker["low"]
    assert mini["baseVolume"] > 0
    assert every["BTC/USDT"]["high"] >= every["BTC/USDT"]["low"]
    assert best["BTC/USDT"]["bid"] < best["BTC/USDT"]["ask"]
