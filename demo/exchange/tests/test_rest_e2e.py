# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""REST over real HTTP: rules, errors, limits, bans and faults."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from simulator.testing import RunningExchange, running_exchange

MINUTE_MS = 60_000
SYMBOL_TEXT = (
    r"Illegal characters found in parameter 'symbol'; "
    r"legal range is '^[\w\-._&&[^a-z]]{1,50}$'."
)
NOON_MS = 1_709_294_400_000


async def ask(
    http: aiohttp.ClientSession, exchange: RunningExchange, path: str, **params: object
) -> tuple[int, Any, Any]:
    query = {name: str(value) for name, value in params.items()}
    async with http.get(f"{exchange.rest_url}/api/v3/{path}", params=query) as answer:
        return answer.status, await answer.json(), answer.headers


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("ping?a=1", -1101, "Too many parameters; expected '0' and received '1'."),
        (
            "klines",
            -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        ),
        ("klines?symbol=&interval=1m", -1102, None),
        (
            "klines?symbol=BTCUSDT",
            -1102,
            "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.",
        ),
        ("klines?symbol=NOPEUSDT&interval=1m", -1121, "Invalid symbol."),
        (
            "klines?symbol=btcusdt&interval=1m",
            -1100,
            SYMBOL_TEXT,
        ),
        ("klines?symbol=BTC/USDT&interval=1m", -1100, None),
        ("klines?symbol=BTCUSDT&interval=45m", -1120, "Invalid interval."),
        ("klines?symbol=BTCUSDT&interval=1D", -1120, "Invalid interval."),
        (
            "klines?symbol=BTCUSDT&interval=1m&limit=-1",
            -1100,
            "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.",
        ),
        ("klines?symbol=BTCUSDT&interval=1m&startTime=x", -1100, None),
        ("klines?symbol=BTCUSDT&interval=1m&timeZone=15:00", -1130, None),
        (
            "klines?symbol=BTCUSDT&interval=1m&foo=1",
            -1104,
            "Not all sent parameters were read; read '2' parameter(s) but was sent '3'.",
        ),
        (
            "klines?symbol=BTCUSDT&symbol=ETHUSDT&interval=1m",
            -1101,
            "Duplicate values for a parameter detected.",
        ),
        ("klines?symbol=BTCUSDT&interval=1m&limit=", -1105, "Parameter 'limit' was empty."),
        ("depth?symbol=BTCUSDT&symbolStatus=HALT", -1220, None),
        ("exchangeInfo?symbol=BTCUSDT&symbols=%5B%22ETHUSDT%22%5D", -1128, None),
        ("exchangeInfo?symbols=%5B%22NOPEUSDT%22%5D", -1121, "Invalid symbol."),
        ("exchangeInfo?symbols=BTCUSDT", -1100, None),
        ("aggTrades?symbol=BTCUSDT&fromId=1&startTime=1", -1128, None),
    ],
)
async def test_a_wrong_request_is_refused_in_the_exchanges_words(
    http: aiohttp.ClientSession, exchange: RunningExchange, path: str, code: int, text: str | None
) -> None:
    status, body, headers = await ask(http, exchange, path)
    assert (status, body["code"]) == (400, code)
    assert text is None or body["msg"] == text
    assert int(headers["X-MBX-USED-WEIGHT-1M"]) > 0


async def test_limits_clamp_and_default(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    lengths = []
    for params in ({}, {"limit": 3}, {"limit": 5_000}):
        _, rows, _ = await ask(http, exchange, "klines", symbol="BTCUSDT", interval="1m", **params)
        lengths.append(len(rows))
    assert lengths == [500, 3, 1_000]
    _, book, _ = await ask(http, exchange, "depth", symbol="BTCUSDT")
    assert [len(book["bids"]), len(book["asks"])] == [100, 100]
    _, book, _ = await ask(http, exchange, "depth", symbol="BTCUSDT", limit=9_999)
    assert len(book["bids"]) > 1_000


async def test_times_may_be_microseconds_both_ways(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    params = {"symbol": "BTCUSDT", "interval": "1m", "limit": 1}
    _, in_ms, _ = await ask(http, exchange, "klines", startTime=NOON_MS, **params)
    _, same, _ = await ask(http, exchange, "klines", startTime=NOON_MS * 1_000, **params)
    assert in_ms == same
    url = (
        f"{exchange.rest_url}/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={NOON_MS}&limit=1"
    )
    async with http.get(url, headers={"X-MBX-TIME-UNIT": "MICROSECOND"}) as answer:
        ((open_us, *_, close_us, _, _, _, _, _),) = await answer.json()
    assert (open_us, close_us) == (NOON_MS * 1_000, (NOON_MS + MINUTE_MS) * 1_000 - 1)


async def test_times_out_of_range_are_clamped(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    params = {"symbol": "BTCUSDT", "interval": "1m", "limit": 1}
    _, rows, _ = await ask(http, exchange, "klines", startTime=0, **params)
    assert rows[0][0] == 1_483_228_800_000
    _, rows, _ = await ask(http, exchange, "klines", startTime=10**13 - 1, **params)
    assert rows == []


async def test_paging_through_history_finds_every_minute_once(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    end_ms, start_ms, rows = NOON_MS + 2_500 * MINUTE_MS, NOON_MS, []
    while start_ms <= end_ms:
        _, page, _ = await ask(
            http,
            exchange,
            "klines",
            symbol="ETHUSDT",
            interval="1m",
            startTime=start_ms,
            endTime=end_ms,
            limit=1_000,
        )
        rows += page
        start_ms = page[-1][0] + MINUTE_MS
    assert [row[0] for row in rows] == list(range(NOON_MS, end_ms + 1, MINUTE_MS))
    assert rows == exchange.truth_klines("ETHUSDT", NOON_MS, end_ms)


async def test_aggregate_trades_page_by_id_and_make_up_their_kline(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    _, trades, _ = await ask(
        http,
        exchange,
        "aggTrades",
        symbol="SOLUSDT",
        startTime=NOON_MS,
        endTime=NOON_MS + MINUTE_MS - 1,
        limit=1_000,
    )
    ((_, _, _, _, _, volume, _, _, count, _, _, _),) = exchange.truth_klines(
        "SOLUSDT", NOON_MS, NOON_MS
    )
    assert len(trades) == count
    lots = sum(int(trade["q"].replace(".", "")) for trade in trades)
    assert lots == int(volume.replace(".", ""))
    middle = trades[len(trades) // 2]["a"]
    _, page, _ = await ask(http, exchange, "aggTrades", symbol="SOLUSDT", fromId=middle, limit=3)
    assert [trade["a"] for trade in page] == [middle, middle + 1, middle + 2]
    _, newest, _ = await ask(http, exchange, "aggTrades", symbol="SOLUSDT")
    assert len(newest) == 500
    assert newest[-1]["T"] <= exchange.now_ms()
    _, same, _ = await ask(http, exchange, "trades", symbol="SOLUSDT")
    assert same[-1]["id"] >= newest[-1]["a"]


async def test_exchange_info_states_the_configured_limit_and_statuses(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    exchange.control(weight_limit=1_200)
    exchange.act("status", symbol="BNBUSDT", status="HALT")
    _, info, _ = await ask(http, exchange, "exchangeInfo")
    assert info["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 1_200,
    }
    assert {s["symbol"]: s["status"] for s in info["symbols"]}["BNBUSDT"] == "HALT"
    _, info, _ = await ask(http, exchange, "exchangeInfo", symbolStatus="HALT")
    assert [s["symbol"] for s in info["symbols"]] == ["BNBUSDT"]
    _, info, _ = await ask(http, exchange, "exchangeInfo", symbols='["PEPEUSDT","BTCUSDT"]')
    assert [s["filters"][0]["tickSize"] for s in info["symbols"]] == ["0.00000001", "0.01000000"]


async def test_weights_are_counted_per_wall_clock_minute(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    exchange.set_now(NOON_MS + 30_000)
    used = []
    for path, params in (
        ("ping", {}),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 1}),
        ("depth", {"symbol": "BTCUSDT", "limit": 100}),
        ("depth", {"symbol": "BTCUSDT", "limit": 500}),
        ("depth", {"symbol": "BTCUSDT", "limit": 1000}),
        ("depth", {"symbol": "BTCUSDT", "limit": 5000}),
        ("exchangeInfo", {"symbol": "BTCUSDT"}),
        ("aggTrades", {"symbol": "BTCUSDT", "limit": 1}),
    ):
        _, _, headers = await ask(http, exchange, path, **params)
        used.append(int(headers["X-MBX-USED-WEIGHT-1M"]))
    assert used == [1, 3, 8, 33, 83, 333, 353, 357]
    exchange.set_now(NOON_MS + MINUTE_MS)
    _, _, headers = await ask(http, exchange, "ping")
    assert headers["X-MBX-USED-WEIGHT-1M"] == "1"


async def test_ignoring_429_brings_a_ban_and_a_second_ban_is_longer(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    exchange.set_now(NOON_MS + 10_000)
    exchange.control(weight_limit=3, ignored_429_limit=1, first_ban_s=100)
    answers = [await ask(http, exchange, "ping") for _ in range(7)]
    assert [status for status, _, _ in answers] == [200, 200, 200, 429, 429, 418, 418]
    _, body, headers = answers[3]
    assert body == {
        "code": -1003,
        "msg": "Too much request weight used; current limit is 3 request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API.",
    }
    assert 48 <= int(headers["Retry-After"]) <= 50
    _, body, headers = answers[5]
    assert body["code"] == -1003
    until_ms = int(body["msg"].split("IP banned until ")[1].split(".")[0])
    assert NOON_MS + 110_000 <= until_ms <= NOON_MS + 112_000
    assert int(headers["Retry-After"]) == 100
    assert exchange.counters["requests_while_banned"] == 1
    exchange.set_now(until_ms + 1_000)
    statuses = [(await ask(http, exchange, "ping"))[0] for _ in range(6)]
    assert statuses == [200, 200, 200, 429, 429, 418]
    (banned_until_ms,) = exchange.report()["banned_until_ms"].values()
    assert 198_000 <= banned_until_ms - until_ms - 1_000 <= 202_000


async def test_nobody_asks_during_a_ban_is_something_a_test_can_see(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    await ask(http, exchange, "ping")
    exchange.act("ban", seconds=60)
    assert exchange.counters["requests_while_banned"] == 0
    status, _, _ = await ask(http, exchange, "ping")
    assert (status, exchange.counters["requests_while_banned"]) == (418, 1)


async def test_every_queued_fault_strikes_once_and_in_order(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    exchange.control(slow_ms=300)
    exchange.act("fault_next", kinds=["5xx", "html", "garbage", "cut", "slow"])
    url = f"{exchange.rest_url}/api/v3/klines?symbol=BTCUSDT&interval=1m"
    async with http.get(url) as answer:
        assert answer.status >= 500
        assert (await answer.json())["code"] in (-1000, -1001, -1007, -1008)
    async with http.get(url) as answer:
        assert (answer.status, answer.content_type) == (403, "text/html")
    async with http.get(url) as answer:
        assert answer.status == 200
        with pytest.raises(ValueError, match=r"codec|Expecting"):
            await answer.json()
    async with http.get(url) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    started_s = time.monotonic()
    async with http.get(url) as answer:
        assert len(await answer.json()) == 500
    assert time.monotonic() - started_s >= 0.3


async def test_injected_limits_are_obeyed_by_the_exchange_too(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    exchange.control(fault_retry_after_s=1, fault_ban_s=1)
    exchange.act("fault_next", kinds=["429"])
    answers = [await ask(http, exchange, "ping") for _ in range(2)]
    assert [(a[0], a[2]["Retry-After"]) for a in answers] == [(429, "1"), (429, "1")]
    assert exchange.counters["requests_while_limited"] == 1
    await asyncio.sleep(1.05)
    exchange.act("fault_next", kinds=["418"])
    assert (await ask(http, exchange, "ping"))[0] == 418
    await asyncio.sleep(1.05)
    assert (await ask(http, exchange, "ping"))[0] == 200


async def test_fault_rates_strike_about_as_often_as_asked_and_repeat_with_the_seed(
    http: aiohttp.ClientSession,
) -> None:
    patterns = []
    for _ in range(2):
        async with running_exchange(symbols="BTCUSDT", seed="7", fault_5xx=0.3) as exchange:
            patterns.append([(await ask(http, exchange, "ping"))[0] for _ in range(100)])
    assert patterns[0] == patterns[1]
    assert 15 <= sum(status >= 500 for status in patterns[0]) <= 45


async def test_faults_strike_only_the_asked_path(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    exchange.control(fault_5xx=1.0, fault_path="/api/v3/klines")
    assert (await ask(http, exchange, "ping"))[0] == 200
    status, _, _ = await ask(http, exchange, "klines", symbol="BTCUSDT", interval="1m")
    assert status >= 500


async def test_rest_may_lag_behind(http: aiohttp.ClientSession, exchange: RunningExchange) -> None:
    exchange.control(rest_lag_ms=120_000)
    _, rows, _ = await ask(http, exchange, "klines", symbol="BTCUSDT", interval="1m", limit=1)
    assert rows[0][0] <= exchange.now_ms() - 120_000
    _, clock, _ = await ask(http, exchange, "time")
    assert abs(clock["serverTime"] - exchange.now_ms()) < 1_000


async def test_being_down_answers_503_or_refuses_and_comes_back(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    exchange.act("down", seconds=1.5)
    async with http.get(f"{exchange.rest_url}/api/v3/ping") as answer:
        assert answer.status == 503
    async with asyncio.timeout(20):
        while not await answers(http, exchange):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    exchange.act("down", seconds=1.5, mode="refuse")
    exchange.act("down", seconds=1.0, mode="refuse")
    await asyncio.sleep(0.05)
    async with aiohttp.ClientSession() as fresh:
        with pytest.raises(aiohttp.ClientConnectorError):
            await fresh.get(f"{exchange.rest_url}/api/v3/ping")
        async with asyncio.timeout(20):
            while not await answers(fresh, exchange):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def answers(http: aiohttp.ClientSession, exchange: RunningExchange) -> bool:
    try:
        return bool((await ask(http, exchange, "ping"))[0] == 200)
    except aiohttp.ClientError:
        return False


async def test_symbols_come_and_go(http: aiohttp.ClientSession, exchange: RunningExchange) -> None:
    params = {"interval": "1m", "limit": 1}
    exchange.act("list", symbol="NEWUSDT")
    _, rows, _ = await ask(http, exchange, "klines", symbol="NEWUSDT", startTime=0, **params)
    assert rows[0][0] == exchange.now_ms() // MINUTE_MS * MINUTE_MS
    exchange.act("delist", symbol="XRPUSDT")
    _, info, _ = await ask(http, exchange, "exchangeInfo", symbol="XRPUSDT")
    assert info["symbols"][0]["status"] == "BREAK"
    assert (await ask(http, exchange, "klines", symbol="XRPUSDT", **params))[0] == 200
    exchange.act("delist", symbol="XRPUSDT", forget=True)
    _, body, _ = await ask(http, exchange, "klines", symbol="XRPUSDT", **params)
    assert body["code"] == -1121


async def test_control_over_http(http: aiohttp.ClientSession, exchange: RunningExchange) -> None:
    url = f"{exchange.rest_url}/control"
    outage = {"action": "outage", "start_ms": NOON_MS, "end_ms": NOON_MS + 180_000}
    async with http.post(url, json={"fault_5xx": 0.5, "actions": [outage]}) as answer:
        report = await answer.json()
    assert report["switches"]["fault_5xx"] == 0.5
    assert report["seed"] == "42"
    async with http.post(url, json={"actions": [{"action": "reset"}]}) as answer:
        assert (await answer.json())["switches"]["fault_5xx"] == 0
    query = {"truth": "BTCUSDT", "startTime": NOON_MS - MINUTE_MS, "endTime": NOON_MS + 240_000}
    async with http.get(url, params=query) as answer:
        rows = await answer.json()
    assert [row[0] - NOON_MS for row in rows] == [-MINUTE_MS, 180_000, 240_000]


async def test_actions_can_be_given_at_the_start(http: aiohttp.ClientSession) -> None:
    actions = '[{"action": "status", "symbol": "BTCUSDT", "status": "CANCEL_ONLY"}]'
    async with running_exchange(symbols="BTCUSDT", actions=actions) as exchange:
        _, info, _ = await ask(http, exchange, "exchangeInfo")
    assert info["symbols"][0]["status"] == "CANCEL_ONLY"
    with pytest.raises(ValueError, match="explode"):
        async with running_exchange(actions='[{"action": "explode"}]'):
            pass


@pytest.mark.parametrize(
    "body",
    [
        "nonsense",
        "[]",
        '{"fault_5xx": 2}',
        '{"no_such_switch": 1}',
        '{"actions": [{"action": "explode"}]}',
        '{"actions": [{"action": "ban"}]}',
        '{"actions": [{"action": "outage", "start_ms": 5, "end_ms": 4}]}',
        '{"actions": [{"action": "revise", "symbol": "NOPE", "open_ms": 0}]}',
    ],
)
async def test_a_wrong_control_request_is_refused_with_a_reason(
    http: aiohttp.ClientSession, exchange: RunningExchange, body: str
) -> None:
    async with http.post(f"{exchange.rest_url}/control", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]


async def test_hundreds_of_symbols_can_be_listed(http: aiohttp.ClientSession) -> None:
    async with running_exchange(symbols="BTCUSDT", extra_symbols=500) as exchange:
        _, info, _ = await ask(http, exchange, "exchangeInfo")
        assert len(info["symbols"]) == 501
        _, rows, _ = await ask(http, exchange, "klines", symbol="SIM500USDT", interval="1m")
        assert len(rows) == 500
