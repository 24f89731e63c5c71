# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Binance's REST as such: what is refused and how, and what ranges hold."""

from decimal import Decimal
from typing import Any

import pytest

from linkora.settings import HttpSettings
from linkora.timeframes import HOUR_MS
from testkit.market import Collector, Server

SYMBOL = "BTCUSDT"


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("klines", {}, -1102),
        ("klines", {"symbol": SYMBOL}, -1102),
        ("klines", {"symbol": ""}, -1105),
        ("klines", {"symbol": "BTC/USDT", "interval": "1m"}, -1100),
        ("klines", {"symbol": "B" * 51, "interval": "1m"}, -1100),
        ("klines", {"symbol": SYMBOL, "interval": "7m"}, -1120),
        ("klines", {"symbol": SYMBOL, "interval": "1S"}, -1120),
        ("klines", {"symbol": SYMBOL, "interval": "1d", "timeZone": "15"}, -1130),
        ("klines", {"symbol": SYMBOL, "interval": "1d", "timeZone": "Asia/Tokyo"}, -1100),
        ("klines", {"symbol": SYMBOL, "interval": "1d", "timeZone": "5:07"}, -1130),
        ("klines", {"symbol": "NOPE", "interval": "1m"}, -1121),
        ("klines", {"symbol": SYMBOL, "interval": "1m", "limit": "-1"}, -1100),
        ("klines", {"symbol": SYMBOL, "interval": "1m", "startTime": "x"}, -1100),
        ("klines", {"symbol": SYMBOL, "interval": "1s", "limit": "x"}, -1100),
        ("klines", {"symbol": "NOPE", "interval": "1s"}, -1121),
        ("depth", {}, -1102),
        ("depth", {"symbol": "NOPE"}, -1121),
        ("depth", {"symbol": SYMBOL, "limit": "0"}, -1130),
        ("depth", {"symbol": SYMBOL, "limit": "1.5"}, -1100),
        ("aggTrades", {"symbol": SYMBOL, "fromId": "-1"}, -1100),
        ("exchangeInfo", {"symbols": "[]"}, -1100),
        ("exchangeInfo", {"symbol": "NOPE"}, -1121),
        ("ticker/24hr", {"symbols": '["BTCUSDT","NOPE"]'}, -1121),
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


async def test_parameter_that_is_sent_twice_is_refused(shared_server: Server) -> None:
    path = "/api/v3/klines?symbol=BTCUSDT&interval=1m&interval=5m"
    async with shared_server.client.get(path) as response:
        assert response.status == 400
        assert (await response.json())["code"] == -1101


async def test_symbol_may_be_in_any_letters(shared_server: Server) -> None:
    rows = await shared_server.get("/api/v3/klines", symbol="btcusdt", interval="1h", limit=2)
    assert rows == await shared_server.get("/api/v3/klines", symbol=SYMBOL, interval="1h", limit=2)


async def test_zone_shifts_days_and_not_the_bounds(shared_server: Server) -> None:
    asked = {"symbol": SYMBOL, "interval": "1d"}
    days = await shared_server.get("/api/v3/klines", **asked, timeZone="+08:00")
    assert {row[0] % (24 * HOUR_MS) for row in days} == {16 * HOUR_MS}
    # ``startTime`` is UTC in any zone.
    later = await shared_server.get("/api/v3/klines", **asked, timeZone="8", startTime=days[1][0])
    assert later == days[1:]
    hours = await shared_server.get("/api/v3/klines", symbol=SYMBOL, interval="1h", limit=100)
    inside = [hour for hour in hours if days[1][0] <= hour[0] <= days[1][6]]
    assert Decimal(days[1][5]) == sum(Decimal(hour[5]) for hour in inside)
    minutes = await shared_server.get("/api/v3/klines", symbol=SYMBOL, interval="1m", timeZone="8")
    assert minutes == await shared_server.get("/api/v3/klines", symbol=SYMBOL, interval="1m")


async def test_exchange_info_says_the_limit_that_holds(
    collector: Collector, start_server: Any, shared_server: Server
) -> None:
    assert (await shared_server.get("/api/v3/exchangeInfo"))["rateLimits"] == []
    await collector.fill([SYMBOL], minutes=3)
    async with start_server(http=HttpSettings(rate_limit=77)) as server:
        info = await server.get("/api/v3/exchangeInfo", symbol=SYMBOL)
    (limit,) = info["rateLimits"]
    assert limit == {
        "rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 1, "limit": 77,
    }  # fmt: skip
