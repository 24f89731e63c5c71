# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""From the exchange to a client, every number compared with the exchange's own."""

import asyncio
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import aiohttp

from linkora.timeframes import MINUTE_MS, TIMEFRAMES
from simulator.testing import running_exchange
from testkit.services import running_service

SYMBOL = "PEPEUSDT"  # prices of 0.00001 and volumes beyond 10^12 show what rounds
HISTORY_MINUTES = 3 * 24 * 60
FIELDS = {
    "open_price": 1, "high_price": 2, "low_price": 3, "close_price": 4, "volume": 5,
    "quote_volume": 7, "trades": 8, "taker_buy_volume": 9, "taker_buy_quote_volume": 10,
}  # fmt: skip


def iso(time_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(time_ms / 1000))


def eight(value: Decimal) -> str:
    return f"{value:.8f}"


def aggregated(rows: Iterable[list[Any]], timeframe: str) -> dict[int, dict[str, Any]]:
    """The candles of a timeframe as anyone would make them of the exchange's minutes."""
    buckets: dict[int, list[list[Any]]] = {}
    for row in rows:
        buckets.setdefault(TIMEFRAMES[timeframe].open_ms(row[0]), []).append(row)
    return {
        open_ms: {
            "timestamp": open_ms,
            "open_price": inside[0][1],
            "high_price": eight(max(Decimal(row[2]) for row in inside)),
            "low_price": eight(min(Decimal(row[3]) for row in inside)),
            "close_price": inside[-1][4],
            "trades": sum(row[8] for row in inside),
            **{
                name: eight(sum((Decimal(row[FIELDS[name]]) for row in inside), Decimal(0)))
                for name in FIELDS
                if "volume" in name
            },
        }
        for open_ms, inside in buckets.items()
    }


def same_fields(candle: dict[str, Any]) -> dict[str, Any]:
    return {name: candle[name] for name in ("timestamp", *FIELDS)}


async def fetch(session: aiohttp.ClientSession, url: str, **params: Any) -> Any:
    async with session.get(url, params=params) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def closed_minute(
    socket: aiohttp.ClientWebSocketResponse, minute_ms: int, timeframe: str
) -> dict[str, Any]:
    """The last message about a candle before the one after it begins."""
    last: dict[str, Any] = {}
    opens_ms = TIMEFRAMES[timeframe].open_ms(minute_ms)
    async with asyncio.timeout(60):
        while True:
            message = await socket.receive_json()
            if message.get("symbol") != SYMBOL:
                continue
            if message["timestamp"] > opens_ms:
                return last
            last = message


async def test_every_number_reaches_rest_and_socket_as_the_exchange_said_it(
    database, redis_settings, tmp_path
):
    minute_ms = int(time.time() * 1000) // 300_000 * 300_000 + 240_000
    start_ms = minute_ms - HISTORY_MINUTES * MINUTE_MS
    async with (
        # Five seconds before a minute ends that also ends a five-minute candle.
        running_exchange(now_ms=minute_ms + 52_000, symbols=SYMBOL) as exchange,
        running_service(
            "data-collector", port_name="COLLECTOR_PORT", database=database,
            redis=redis_settings, log=tmp_path / "collector.log",
            BINANCE_BASE_URL=exchange.rest_url, BINANCE_WS_URL=exchange.ws_url,
            SYMBOLS=SYMBOL, START_DATE=iso(start_ms),
        ) as collector,
        running_service(
            "api-server", port_name="API_PORT", database=database, redis=redis_settings,
            log=tmp_path / "api.log", WEBSOCKET_UPDATE_INTERVAL=0.5,
        ) as api,
        aiohttp.ClientSession() as session,
    ):  # fmt: skip
        await asyncio.gather(collector.until_healthy(), api.until_healthy())
        ws_url = api.url.replace("http", "ws") + "/ws"
        async with (
            session.ws_connect(ws_url, params={"symbol": SYMBOL, "timeframe": "1"}) as ones,
            session.ws_connect(ws_url, params={"symbol": SYMBOL, "timeframe": "5"}) as fives,
            session.ws_connect(ws_url, params={"symbol": SYMBOL, "type": "orderbook"}) as books,
        ):
            streamed_one, streamed_five = await asyncio.gather(
                closed_minute(ones, minute_ms, "1"), closed_minute(fives, minute_ms, "5")
            )
            book = await books.receive_json()

        assert await fetch(session, f"{api.url}/symbols") == {"symbols": [SYMBOL]}
        async with asyncio.timeout(60):
            while "history_complete" not in collector.log.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        truth = exchange.truth_klines(SYMBOL, start_ms, minute_ms)
        assert len(truth) == HISTORY_MINUTES + 1

        for timeframe in TIMEFRAMES:
            wanted = aggregated(truth, timeframe)
            candles = await fetch(
                session, f"{api.url}/candles", symbol=SYMBOL, timeframe=timeframe, limit=5000
            )
            told = {c["timestamp"]: c for c in candles if c["timestamp"] <= minute_ms}
            assert list(told) == sorted(wanted)
            closed = [c for c in told.values() if c["is_closed"]]
            assert len(closed) >= len(wanted) - 1
            for candle in closed:
                assert same_fields(candle) == wanted[candle["timestamp"]], timeframe

        by_number = {1: "open", 2: "high", 3: "low", 4: "close", 5: "volume", 7: "quote_volume"}
        assert {n: streamed_one[name] for n, name in by_number.items()} == {
            n: truth[-1][n] for n in by_number
        }
        five = aggregated(truth, "5")[minute_ms - 240_000]
        assert streamed_five["volume"] == five["volume"]
        assert streamed_five["open"] == five["open_price"]
        assert streamed_five["trades"] == five["trades"]

        price = await fetch(session, f"{api.url}/price", symbol=SYMBOL, timeframe="5")
        assert price["previous_price"] == five["close_price"]
        shown = await fetch(session, f"{api.url}/orderbook", symbol=SYMBOL, levels=10)
        for side in (shown["bids"], shown["asks"]):
            assert len(side) == 10
        assert Decimal(shown["bids"][0]["price"]) < Decimal(shown["asks"][0]["price"])
        assert book["symbol"] == SYMBOL
        assert len(book["bids"]) == 20
