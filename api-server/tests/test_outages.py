# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Database or Redis away: what is still answered, what clients are told, and the way back."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from linkora.channels import CANDLES_ALL
from linkora.database import open_pool
from linkora.pubsub import Publisher, open_redis
from linkora.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, TIMEFRAMES, floor_minute_ms
from schema.runner import migrate
from testkit.databases import Databases
from testkit.market import Collector, Server, book, minute, now_ms, receive, running, until
from testkit.postgres import Postgres, private_postgres
from testkit.redis_server import RedisServer, private_redis

SYMBOL = "BTCUSDT"


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    with private_postgres() as postgres:
        migrate(postgres.settings())
        yield postgres


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with private_redis() as redis:
        yield redis


@asynccontextmanager
async def collecting(database: Any, redis: Any) -> AsyncIterator[Collector]:
    async with open_pool(database, name="tests") as pool, open_redis(redis) as client:
        yield Collector(pool, Publisher(client))


async def health(server: Server) -> tuple[int, Any]:
    async with server.client.get("/health") as response:
        return response.status, await response.json()


async def is_live(server: Server) -> bool:
    return bool((await health(server))[1]["live_data"] == "healthy")


async def status_of(server: Server, path: str, **params: Any) -> tuple[int, Any]:
    async with server.client.get(path, params=params) as response:
        return response.status, response.headers


async def test_answers_come_from_memory_while_the_database_is_away(
    own_postgres: Postgres, redis_settings: Any, start_server: Any
) -> None:
    database = own_postgres.settings()
    async with collecting(database, redis_settings) as collector:
        await collector.fill([SYMBOL], minutes=30)
        async with start_server(database=database) as server:
            query = {"symbol": SYMBOL, "timeframe": "1", "limit": 20}
            known = await server.get("/candles", **query)
            async with server.ws(symbol=SYMBOL) as socket:
                await receive(socket)
                own_postgres.kill()
                told = await receive(socket)
                assert told["type"] == "status"
                assert told["database"] == "unhealthy"
                status, report = await health(server)
                assert (status, report["database"]) == (503, "unhealthy")
                assert "database" in report["details"]
                assert await server.get("/candles", **query) == known
                assert (await server.get("/symbols"))["symbols"] == [SYMBOL]
                assert (await server.get("/price", symbol=SYMBOL))["symbol"] == SYMBOL
                status, headers = await status_of(
                    server, "/candles", symbol=SYMBOL, end_date=now_ms()
                )
                assert (status, headers["Retry-After"]) == (503, "5")
                own_postgres.start()
                while told.get("status") != "healthy":
                    told = await receive(socket)
                await socket.send_json({"type": "ping"})
                assert (await receive(socket))["type"] == "pong"
            await server.until_healthy()


async def test_sockets_go_on_after_redis_was_away_and_miss_no_closing(
    database: Any, own_redis: RedisServer, start_server: Any
) -> None:
    settings = own_redis.settings()
    newest_ms = floor_minute_ms(now_ms())
    async with collecting(database, settings) as collector:
        await collector.fill([SYMBOL], minutes=30)
        async with (
            start_server(redis=settings) as server,
            server.ws(symbol=SYMBOL, timeframe="1") as socket,
        ):
            await receive(socket)
            own_redis.kill()
            told = await receive(socket)
            while told.get("redis") != "unhealthy":
                told = await receive(socket)
            assert (await health(server))[0] == 503
            # Committed while nobody could be told.
            await collector.store(
                [
                    minute(SYMBOL, newest_ms),
                    minute(SYMBOL, newest_ms + MINUTE_MS),
                    running(minute(SYMBOL, newest_ms + 2 * MINUTE_MS)),
                ]
            )
            rows = await server.get("/candles", symbol=SYMBOL, limit=2)
            assert [row["timestamp"] for row in rows] == [
                newest_ms + MINUTE_MS,
                newest_ms + 2 * MINUTE_MS,
            ]
            own_redis.start()
            candles = []
            while len(candles) < 3:
                message = await receive(socket, timeout_s=30)
                if message.get("channel") == "candles":
                    candles.append((message["timestamp"] - newest_ms, message["is_closed"]))
            assert candles == [(0, True), (MINUTE_MS, True), (2 * MINUTE_MS, False)]
            await server.until_healthy()
            last = minute(SYMBOL, newest_ms + 2 * MINUTE_MS)
            await collector.tell(last)
            while message.get("timestamp") != last.open_time_ms or not message["is_closed"]:
                message = await receive(socket)


BOOKS, CANDLES = "orderbook:all", "candles:all"


@pytest.fixture
async def stale_paths(own_postgres: Postgres, own_redis: RedisServer, start_server: Any) -> Any:
    """A server whose database goes away on demand, and what of its answers is marked as stale."""
    database, redis = own_postgres.settings(), own_redis.settings()
    async with collecting(database, redis) as collector, open_redis(redis) as admin:
        await collector.pool.execute("TRUNCATE candles, collector_state, orderbook_data")
        await collector.fill([SYMBOL], minutes=5)
        await collector.store_book(book(SYMBOL, now_ms() - 60_000))
        async with start_server(database=database, redis=redis) as server:
            yield Surrounded(server, collector, admin)


class Surrounded:
    """A server, its collector, and a hand on what it may hear."""

    def __init__(self, server: Server, collector: Collector, admin: Any) -> None:
        self.server = server
        self.collector = collector
        self._admin = admin

    async def let_hear(self, *channels: str) -> None:
        """Have Redis cut the subscriptions of other channels, and refuse them from now on."""
        allowed = [f"&{channel}" for channel in channels] or ["allchannels"]
        await self._admin.execute_command("ACL", "SETUSER", "default", "resetchannels", *allowed)

    async def stale(self) -> set[str]:
        """Return the paths whose answers say that they may be old."""
        paths = {
            "/orderbook": {"symbol": SYMBOL},
            "/price": {"symbol": SYMBOL},
            "/candles": {"symbol": SYMBOL, "limit": 2},
            "/api/v3/depth": {"symbol": SYMBOL},
            "/api/v3/ticker/bookTicker": {"symbol": SYMBOL},
            "/api/v3/ticker/price": {"symbol": SYMBOL},
        }
        return {
            path
            for path, query in paths.items()
            if "Warning" in (await status_of(self.server, path, **query))[1]
        }

    async def bid(self) -> Decimal:
        told = await self.server.get("/orderbook", symbol=SYMBOL)
        return Decimal(told["bids"][0]["price"])


async def test_each_answer_says_by_itself_whether_its_news_are_heard(
    own_postgres: Postgres, stale_paths: Surrounded
) -> None:
    around = stale_paths
    # What was asked for while the database was there is in memory when it is not.
    assert await around.stale() == set()
    own_postgres.kill()
    try:
        assert await around.stale() == set()
        await around.let_hear(CANDLES, "trades:all")
        await until(lambda: is_away(around.server), timeout_s=30)
        of_books = {"/orderbook", "/api/v3/depth", "/api/v3/ticker/bookTicker"}
        assert await around.stale() == of_books
        await around.let_hear(BOOKS, "trades:all")
        # Heard again, but what was missed meanwhile is not known before the database is back.
        await until(lambda: has_told_stale(around, 6), timeout_s=30)
    finally:
        own_postgres.start()
    await until(lambda: has_told_stale(around, 0), timeout_s=30)
    assert (await health(around.server))[0] == 503
    await around.let_hear()
    await until(lambda: is_live(around.server), timeout_s=30)


async def test_a_book_that_changed_while_books_were_not_heard_is_read_again(
    stale_paths: Surrounded,
) -> None:
    """Nothing changes in it afterwards: no message would ever tell."""
    around = stale_paths
    old = await around.bid()
    await around.let_hear(CANDLES, "trades:all")
    await until(lambda: is_away(around.server), timeout_s=30)
    newer = book(SYMBOL, now_ms() - 30_001)
    assert newer.bids[0].price != old
    await around.collector.store_book(newer)
    assert await around.bid() == newer.bids[0].price
    await around.let_hear()
    await until(lambda: is_live(around.server), timeout_s=30)
    assert await around.bid() == newer.bids[0].price


async def test_a_hole_in_the_numbers_of_books_has_them_read_again(
    stale_paths: Surrounded,
) -> None:
    around = stale_paths
    lost, heard = book(SYMBOL, now_ms() - 20_002), book("ETHUSDT", now_ms())
    await around.collector.publish_books(book("ETHUSDT", now_ms() - 50_000))
    await around.collector.store_book(lost)
    around.collector.publisher.skip(BOOKS)
    await around.collector.publish_books(heard)

    async def is_read() -> bool:
        return await around.bid() == lost.bids[0].price

    await until(is_read, timeout_s=30)


async def is_away(server: Server) -> bool:
    return bool((await health(server))[1]["redis"] == "unhealthy")


async def has_told_stale(around: Surrounded, count: int) -> bool:
    return len(await around.stale()) == count


async def candle_of(socket: Any) -> dict[str, Any]:
    """Return the next message of a candle."""
    while True:
        message: dict[str, Any] = await receive(socket, timeout_s=30)
        if message.get("channel") == "candles":
            return message


async def test_old_correction_that_redis_never_told_reaches_every_socket(
    database: Any, own_redis: RedisServer, start_server: Any
) -> None:
    """Far too old for what the server keeps in memory, on a real Redis and PostgreSQL."""
    settings = own_redis.settings()
    newest_ms = floor_minute_ms(now_ms())
    old_ms = newest_ms - 3 * DAY_MS
    names = ("1", "45", "4H", "1D")
    async with collecting(database, settings) as collector:
        await collector.fill([SYMBOL], minutes=4 * 24 * 60)
        # As if the history had been stored long ago.
        await collector.pool.execute("UPDATE candles SET updated_at = now() - interval '1 day'")
        async with (
            start_server(redis=settings) as server,
            server.ws(type="none") as socket,
            server.client.ws_connect(f"/binance/ws/{SYMBOL.lower()}@kline_6h") as binance,
        ):
            channels = [{"type": "candles", "symbol": SYMBOL, "timeframe": x} for x in names]
            await socket.send_json({"type": "subscribe", "channels": channels})
            assert {(await candle_of(socket))["timeframe"] for _ in names} == set(names)
            own_redis.kill()
            while (await receive(socket)).get("redis") != "unhealthy":
                pass
            await collector.store([minute(SYMBOL, old_ms, revision=1, high=Decimal(77_777))])
            own_redis.start()
            told = {}
            while len(told) < len(names):
                message = await candle_of(socket)
                if message["is_closed"]:
                    told[message["timeframe"]] = message
            for name in names:
                assert told[name]["timestamp"] == TIMEFRAMES[name].open_ms(old_ms)
                assert told[name]["high"] == "77777.00000000"
            kline = (await binance.receive_json(timeout=10))["k"]
            while not kline["x"]:
                kline = (await binance.receive_json(timeout=10))["k"]
            assert (kline["t"], kline["h"]) == (old_ms - old_ms % (6 * HOUR_MS), "77777.00000000")
            assert kline["v"] == await six_hours_volume(collector, kline["t"])
            await server.until_healthy()
            # After another hole it is no news any more; what the hole hid is.
            await collector.publish(running(minute(SYMBOL, newest_ms, trades=10**6)))
            collector.publisher.skip(CANDLES_ALL)
            await collector.store([minute(SYMBOL, old_ms + MINUTE_MS, revision=1)])
            await collector.publish(running(minute(SYMBOL, newest_ms, trades=10**7)))
            seen = [await candle_of(socket)]
            while sum(message["is_closed"] for message in seen) < len(names):
                seen.append(await candle_of(socket))
            minutes = [x["timestamp"] for x in seen if x["is_closed"] and x["timeframe"] == "1"]
            assert minutes == [old_ms + MINUTE_MS]


async def six_hours_volume(collector: Collector, open_ms: int) -> str:
    return str(
        await collector.pool.fetchval(
            "SELECT sum(volume) FROM candles WHERE open_time >= at_ms($1)"
            " AND open_time < at_ms($2)",
            open_ms,
            open_ms + 6 * HOUR_MS,
        )
    )


async def test_starts_without_its_neighbours_and_finds_them_later(
    databases: Databases, own_redis: RedisServer, own_postgres: Postgres, start_server: Any
) -> None:
    own_redis.stop()
    own_postgres.stop()
    places = {"database": own_postgres.settings(), "redis": own_redis.settings()}
    async with start_server(is_healthy=False, **places) as server:
        status, report = await health(server)
        assert status == 503
        assert (report["database"], report["redis"]) == ("unhealthy", "unhealthy")
        for path in ("/symbols", "/candles", "/price", "/orderbook", "/api/v3/klines"):
            started = time.monotonic()
            status, headers = await status_of(server, path, symbol=SYMBOL, interval="1m")
            assert status == 503, path
            assert "Retry-After" in headers
            assert time.monotonic() - started < 8
        _, refused = await server.refused("/api/v3/klines", symbol=SYMBOL, interval="1m")
        assert refused == {"code": -1001, "msg": "Temporarily unavailable, try again"}
        async with server.ws(symbol=SYMBOL) as socket:
            own_postgres.start()
            own_redis.start()
            async with collecting(places["database"], places["redis"]) as collector:
                await collector.fill([SYMBOL], minutes=5)
                message = await receive(socket, timeout_s=30)
                while message.get("channel") != "candles":
                    await collector.publish(running(minute(SYMBOL, floor_minute_ms(now_ms()))))
                    message = await receive(socket, timeout_s=30)
        await until(lambda: server.get("/symbols"))
        await server.until_healthy()


async def test_history_comes_from_the_replica_and_the_newest_from_the_primary(
    collector: Collector, own_postgres: Postgres, start_server: Any
) -> None:
    """The replica here is another database, so that one sees who answered."""
    await collector.fill([SYMBOL], minutes=10)
    place = own_postgres.settings()
    places = {"db_read_host": place.host, "db_read_port": place.port}
    async with start_server(is_healthy=False, **places) as server:
        await until(lambda: is_live(server))
        # Same name, user and password are asked for: the other server does not have the database.
        newest = await server.get("/candles", symbol=SYMBOL, limit=3)
        assert len(newest) == 3
        status, _ = await status_of(server, "/candles", symbol=SYMBOL, start_date=0)
        assert status == 503
        code, report = await health(server)
        assert (code, report["database_read"], report["database"]) == (503, "unhealthy", "healthy")
