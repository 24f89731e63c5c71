# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from linkora import channels
from linkora.market import Trade
from linkora.messages import encode_trades, trade_message
from linkora.timeframes import HOUR_MS, MINUTE_MS, TIMEFRAMES, floor_minute_ms
from marketdata.answers import Answer, Answers
from marketdata.board import Board
from marketdata.shortcut import MAX_QUERY_BYTES, KnownQueries
from testkit.market import Collector, Server, book, minute, moment, now_ms, receive, running, until

CANDLE_FIELDS = {
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


async def test_symbols_are_listed(shared_server: Server) -> None:
    assert await shared_server.get("/symbols") == {"symbols": ["BTCUSDT", "ETHUSDT"]}


async def test_candles_are_an_ascending_array_that_ends_with_the_running_one(
    shared_server: Server,
) -> None:
    candles = await shared_server.get("/candles", symbol="btcusdt", timeframe="1", limit=5)
    times = [candle["timestamp"] for candle in candles]
    assert times == sorted(times)
    assert len(times) == 5
    assert [candle["is_closed"] for candle in candles] == [True] * 4 + [False]
    assert set(candles[0]) == CANDLE_FIELDS
    assert candles[0]["open_time"].endswith(":00.000Z")
    assert candles[0]["close_time"].endswith(":59.999Z")
    assert all(len(candles[0][name].split(".")[1]) == 8 for name in ("open_price", "volume"))


async def test_memory_and_database_give_the_same_bytes(shared_server: Server) -> None:
    """With an ``end_date`` the database answers."""
    for name in TIMEFRAMES:
        for params in ({"limit": "3"}, {"limit": "200"}, {"limit": "7", "order": "desc"}):
            query = {"symbol": "BTCUSDT", "timeframe": name, **params}
            async with shared_server.client.get("/candles", params=query) as response:
                from_memory = await response.read()
            query |= {"end_date": str(now_ms())}
            async with shared_server.client.get("/candles", params=query) as response:
                assert await response.read() == from_memory, query


@pytest.mark.parametrize("name", TIMEFRAMES)
async def test_every_timeframe_has_a_running_candle(shared_server: Server, name: str) -> None:
    candle = (await shared_server.get("/candles", symbol="BTCUSDT", timeframe=name, limit=1))[0]
    assert candle["timestamp"] == TIMEFRAMES[name].open_ms(now_ms())
    assert candle["is_closed"] is False


async def test_start_gives_the_oldest_and_desc_the_newest_of_a_range(shared_server: Server) -> None:
    newest_ms = floor_minute_ms(now_ms())
    start_ms, end_ms = newest_ms - 20 * MINUTE_MS, newest_ms - 5 * MINUTE_MS

    async def opens(**params: Any) -> list[int]:
        rows = await shared_server.get("/candles", symbol="BTCUSDT", **params)
        return [(newest_ms - row["timestamp"]) // MINUTE_MS for row in rows]

    span = {"start_date": moment(start_ms).isoformat(), "end_date": str(end_ms)}
    assert await opens(**span, limit=3) == [20, 19, 18]
    assert await opens(**span, limit=3, order="desc") == [5, 6, 7]
    assert await opens(end_date=end_ms, limit=3) == [7, 6, 5]
    assert await opens(**span) == list(range(20, 4, -1))
    javascript = moment(start_ms).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert await opens(start_date=javascript, limit=1) == [20]


@pytest.mark.parametrize(
    ("path", "params", "status", "text"),
    [
        ("/candles", {}, 400, "symbol parameter is required"),
        ("/candles", {"symbol": "BTCUSDT", "timeframe": "7"}, 400, "Invalid timeframe. Supported:"),
        ("/candles", {"symbol": "BTCUSDT", "timeframe": "1m"}, 400, "Invalid timeframe."),
        ("/candles", {"symbol": "BTCUSDT", "limit": "0"}, 400, "limit must be between 1 and 5000"),
        ("/candles", {"symbol": "BTCUSDT", "limit": "5001"}, 400, "limit must be between 1 and"),
        ("/candles", {"symbol": "BTCUSDT", "limit": "x"}, 400, "limit must be between 1 and 5000"),
        ("/candles", {"symbol": "BTCUSDT", "limit": "1_0"}, 400, "limit must be between 1 and"),
        ("/candles", {"symbol": "BTCUSDT", "start_date": "x"}, 400, "Invalid start_date format"),
        ("/candles", {"symbol": "BTCUSDT", "end_date": "9" * 17}, 400, "Invalid end_date format"),
        ("/candles", {"symbol": "BTCUSDT", "order": "up"}, 400, "Invalid order. Supported:"),
        ("/candles", {"symbol": "BTCUSDT", "format": "xml"}, 400, "Invalid format. Supported:"),
        (
            "/candles",
            {"symbol": "BTCUSDT", "start_date": "2024-02-01", "end_date": "2024-01-01"},
            400,
            "start_date must not be after end_date",
        ),
        ("/candles", {"symbol": "NOPE"}, 404, "No data available for this symbol"),
        ("/candles", {"symbol": "A\x00B"}, 400, "symbol must have 1 to 50 characters"),
        ("/orderbook", {"symbol": "BTCUSDT", "levels": "7"}, 400, "Invalid levels. Supported:"),
        ("/orderbook", {"symbol": "BTCUSDT", "levels": "x"}, 400, "levels must be an integer"),
        (
            "/orderbook",
            {"symbol": "BTCUSDT"},
            404,
            "No orderbook data available for this symbol",
        ),
        ("/price", {"symbol": "NOPE"}, 404, "No data available for this symbol"),
        ("/price", {}, 400, "symbol parameter is required"),
        ("/trades/NOPE", {}, 404, "No data available for this symbol"),
        ("/trades/BTCUSDT", {"limit": "1001"}, 400, "limit must be between 1 and 1000"),
        ("/gaps", {"state": "x"}, 400, "Invalid state. Supported:"),
    ],
)
async def test_wrong_request_is_refused_with_what_is_allowed(
    shared_server: Server, path: str, params: dict[str, str], status: int, text: str
) -> None:
    got, body = await shared_server.refused(path, **params)
    assert got == status
    assert body["error"].startswith(text)


async def test_wrong_date_says_what_is_allowed(shared_server: Server) -> None:
    _, body = await shared_server.refused("/candles", symbol="BTCUSDT", start_date="yesterday")
    assert "ISO 8601" in body["hint"]


async def test_health_names_the_neighbours(shared_server: Server) -> None:
    health = await shared_server.get("/health")
    assert health["status"] == "healthy"
    assert health["database"] == "healthy"
    assert health["redis"] == "healthy"


async def test_order_book_has_the_asked_levels(collector: Collector, server: Server) -> None:
    await collector.store_book(book("BTCUSDT", now_ms()))
    await collector.publish_books(book("BTCUSDT", now_ms()))

    async def answer(**params: Any) -> Any:
        async with server.client.get("/orderbook", params=params) as response:
            return await response.json() if response.status == 200 else None

    await until(lambda: answer(symbol="BTCUSDT"))
    got = await server.get("/orderbook", symbol="BtcUsdt", levels=5)
    assert set(got) == {"symbol", "timestamp", "last_update_id", "bids", "asks"}
    assert len(got["bids"]) == len(got["asks"]) == 5
    assert got["bids"][0]["quantity"] == "1.00000000"
    assert Decimal(got["bids"][0]["price"]) > Decimal(got["bids"][1]["price"])
    assert len((await server.get("/orderbook", symbol="BTCUSDT"))["asks"]) == 20


@pytest.mark.parametrize(
    ("close", "expected"),
    [
        ("110", ("up", "10.00000000", "10.00")),
        ("95", ("down", "-5.00000000", "-5.00")),
        ("100", ("neutral", "0.00000000", "0.00")),
        ("99.999", ("down", "-0.00100000", "0.00")),
    ],
)
async def test_price_compares_with_the_close_of_the_previous_bucket(
    collector: Collector, server: Server, close: str, expected: tuple[str, str, str]
) -> None:
    newest_ms = floor_minute_ms(now_ms())
    await collector.tell(
        minute("ETHUSDT", newest_ms - MINUTE_MS, close=Decimal(100), revision=1),
        running(minute("ETHUSDT", newest_ms, close=Decimal(close), trades=10**6)),
    )

    async def is_there() -> bool:
        price = await server.get("/price", symbol="ethusdt", timeframe="1")
        return bool(Decimal(price["current_price"]) == Decimal(close))

    await until(is_there)
    price = await server.get("/price", symbol="ethusdt")
    assert price["previous_price"] == "100.00000000"
    assert (price["trend"], price["change_absolute"], price["change_percent"]) == expected
    assert price["timeframe"] == "1"
    assert price["timestamp"] == newest_ms
    assert isinstance(price["volume"], str)


async def test_unchanged_answer_is_304_and_a_changed_one_is_not(
    collector: Collector, server: Server
) -> None:
    query = {"symbol": "BTCUSDT", "timeframe": "1H", "limit": "2"}
    async with server.client.get("/candles", params=query) as response:
        tag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "no-cache"
    known = {"If-None-Match": f'"other", {tag}'}
    async with server.client.get("/candles", params=query, headers=known) as response:
        assert response.status == 304
        assert await response.read() == b""
    newest = minute("BTCUSDT", floor_minute_ms(now_ms()))
    await collector.publish(running(newest, trades=newest.trades + 1))

    async def is_changed() -> bool:
        async with server.client.get("/candles", params=query, headers=known) as response:
            return response.status == 200

    await until(is_changed)


async def test_closed_range_may_be_kept_a_while(shared_server: Server) -> None:
    end_ms = now_ms() - HOUR_MS
    async with shared_server.client.get(
        "/candles", params={"symbol": "BTCUSDT", "end_date": str(end_ms)}
    ) as response:
        assert "max-age=60" in response.headers["Cache-Control"]
        known = {"If-None-Match": response.headers["ETag"]}
        again = response.url
    async with shared_server.client.get(again, headers=known) as response:
        assert response.status == 304
        assert "max-age=60" in response.headers["Cache-Control"]


async def test_long_answer_is_packed_for_who_takes_that(shared_server: Server) -> None:
    query = {"symbol": "BTCUSDT", "limit": "100"}
    for encoding, packed in (("gzip", "gzip"), ("identity", None)):
        headers = {"Accept-Encoding": encoding}
        async with shared_server.client.get("/candles", params=query, headers=headers) as response:
            assert response.headers.get("Content-Encoding") == packed
            assert len(await response.json()) == 100


async def test_closing_extends_the_answer_without_a_query(
    collector: Collector, server: Server
) -> None:
    newest_ms = floor_minute_ms(now_ms())
    query = {"symbol": "BTCUSDT", "timeframe": "1", "limit": 4}
    before = await server.get("/candles", **query)
    closed = minute("BTCUSDT", newest_ms, trades=10**7)
    # Published but not stored: only the board can know it.
    await collector.publish(closed, running(minute("BTCUSDT", newest_ms + MINUTE_MS)))

    async def is_extended() -> bool:
        rows = await server.get("/candles", **query)
        return bool(rows[-1]["timestamp"] > before[-1]["timestamp"])

    await until(is_extended)
    rows = await server.get("/candles", **query)
    assert [row["timestamp"] for row in rows] == [
        newest_ms + step * MINUTE_MS for step in (-2, -1, 0, 1)
    ]
    assert rows[2]["trades"] == 10**7
    assert [row["is_closed"] for row in rows] == [True, True, True, False]


async def test_hole_in_the_numbers_makes_the_server_read_again(
    collector: Collector, server: Server
) -> None:
    newest_ms = floor_minute_ms(now_ms())
    query = {"symbol": "BTCUSDT", "timeframe": "1", "limit": 3}
    await server.get("/candles", **query)
    await collector.publish(running(minute("BTCUSDT", newest_ms)))
    repaired = minute("BTCUSDT", newest_ms - MINUTE_MS, revision=1, high=Decimal(77_777))
    await collector.store([repaired])
    collector.publisher.skip(channels.CANDLES_ALL)
    await collector.publish(running(minute("ETHUSDT", newest_ms)))

    async def is_repaired() -> bool:
        rows = await server.get("/candles", **query)
        return bool(rows[1]["high_price"] == "77777.00000000")

    await until(is_repaired)


def trade(number: int) -> Trade:
    return Trade(
        symbol="BTCUSDT",
        id=number,
        price=Decimal(100 + number),
        quantity=Decimal("0.5"),
        time_ms=1_706_745_600_000 + number,
        is_buyer_maker=number % 2 == 0,
    )


async def test_recent_trades_come_newest_first_and_over_the_socket(
    collector: Collector, server: Server, redis_client: Any
) -> None:
    for number in range(3):
        told = msgspec.json.encode(trade_message(trade(number)))
        await redis_client.lpush(channels.recent_trades_key("BTCUSDT"), told)
    answer = await server.get("/trades/btcusdt", limit=2)
    assert answer["trades"] == [
        {
            "id": number,
            "price": f"{100 + number}.00000000",
            "quantity": "0.50000000",
            "timestamp": 1_706_745_600_000 + number,
            "is_buyer_maker": number == 2,
        }
        for number in (2, 1)
    ]
    async with server.ws(symbol="BTCUSDT", type="trades") as socket:
        while True:
            await collector.publisher.publish(
                [(channels.TRADES_ALL, lambda at: encode_trades("BTCUSDT", [trade(7)], at))]
            )
            try:
                message = await receive(socket, timeout_s=0.3)
            except TimeoutError:
                continue
            break
    assert message["channel"] == "trades"
    assert message["trades"][-1]["id"] == 7


async def test_gaps_are_told_with_their_reason(collector: Collector, server: Server) -> None:
    start_ms = 1_582_112_160_000
    await collector.pool.execute(
        "INSERT INTO candle_gaps (symbol, from_time, to_time, state, reason)"
        " VALUES ('BTCUSDT', $1, $2, 'explained', 'the exchange has none')",
        moment(start_ms),
        moment(start_ms + 30 * MINUTE_MS),
    )
    gaps = (await server.get("/gaps", symbol="btcusdt"))["gaps"]
    assert len(gaps) == 1
    assert gaps[0]["start_timestamp"] == start_ms
    assert gaps[0]["end"] == "2020-02-19T12:06:00.000Z"
    assert (gaps[0]["minutes"], gaps[0]["state"]) == (30, "explained")
    assert (await server.get("/gaps", state="open"))["gaps"] == []
    assert (await server.get("/gaps", start_date="2021-01-01"))["gaps"] == []


async def test_metrics_count_what_is_read(server: Server) -> None:
    async with server.client.get("/metrics") as response:
        text = await response.text()
    assert "relay_symbol_rereads_total 2.0" in text
    assert "websocket_connections 0.0" in text


async def test_many_clients_at_once_get_the_same_answer(shared_server: Server) -> None:
    query = {"symbol": "BTCUSDT", "timeframe": "5", "limit": 20}
    answers = await asyncio.gather(*(shared_server.get("/candles", **query) for _ in range(50)))
    assert len({json.dumps(answer) for answer in answers}) == 1


async def test_repeated_question_is_answered_the_same_way_until_something_changes(
    collector: Collector, server: Server
) -> None:
    """The second answer takes a shortcut; it must not differ in anything but its own id."""
    query = {"symbol": "BTCUSDT", "timeframe": "15", "limit": "3"}
    answers = []
    for _ in range(3):
        async with server.client.get(
            "/candles", params=query, headers={"Accept-Encoding": "identity", "Origin": "http://x"}
        ) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            for name in ("date", "x-request-id"):
                headers.pop(name)
            answers.append((await response.read(), headers))
    assert answers[0] == answers[1] == answers[2]
    async with server.client.get("/metrics") as response:
        assert 'http_requests_total{endpoint="candles",status="200"} 3.0' in await response.text()
    newest = minute("BTCUSDT", floor_minute_ms(now_ms()), trades=10**6)
    await collector.publish(running(newest))

    async def is_new() -> bool:
        rows = await server.get("/candles", **query)
        return bool(rows[-1]["trades"] >= 10**6)

    await until(is_new)


def test_shortcut_remembers_no_long_query_strings() -> None:
    board, answers = Board(max_windows=1, max_rows=1), Answers(max_bytes=100)
    board.live.add("X")
    answers.put("key", Answer(b"[]", board.version("X")))
    known = KnownQueries(board, answers)
    for query in (b"symbol=X&limit=1", b"symbol=X&" + b"x" * MAX_QUERY_BYTES):
        known.remember(query, "X", "key")
    assert known.find(b"symbol=X&limit=1") is not None
    assert known.find(b"symbol=X&" + b"x" * MAX_QUERY_BYTES) is None
