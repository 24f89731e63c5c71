# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from testkit.market import Collector, Server, book, now_ms


async def test_symbols_are_listed(server: Server) -> None:
    assert await server.get("/symbols") == {"symbols": ["BTCUSDT", "ETHUSDT"]}


async def test_candles_are_an_ascending_array_that_ends_with_the_running_one(
    server: Server,
) -> None:
    candles = await server.get("/candles", symbol="btcusdt", timeframe="1", limit=5)
    times = [candle["timestamp"] for candle in candles]
    assert times == sorted(times)
    assert len(times) == 5
    assert [candle["is_closed"] for candle in candles] == [True] * 4 + [False]
    assert set(candles[0]) == {
        "timestamp",
        "open_time",
        "close_time",
        "open_price",
        "high_price",
        "low_price",
        "close_price",
        "volume",
        "quote_volume",
        "trades",
        "taker_buy_volume",
        "taker_buy_quote_volume",
        "is_closed",
    }


async def test_health_names_the_neighbours(server: Server) -> None:
    health = await server.get("/health")
    assert health["status"] == "healthy"
    assert health["database"] == "healthy"
    assert health["redis"] == "healthy"


async def test_order_book_has_the_asked_levels(collector: Collector, server: Server) -> None:
    await collector.store_book(book("BTCUSDT", now_ms()))
    answer = await server.get("/orderbook", symbol="BTCUSDT", levels=5)
    assert answer["symbol"] == "BTCUSDT"
    assert len(answer["bids"]) == len(answer["asks"]) == 5
    assert answer["bids"][0]["quantity"] == "1.00000000"
