# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A recorded piece of the real market through the whole product (../shared/data)."""

import asyncio
import gzip
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from linkora.timeframes import MINUTE_MS
from simulator.testing import RunningExchange, running_exchange
from testkit.recorded import recorded
from testkit.services import running_service

SYMBOL = "BTCUSDT"
Best = tuple[Decimal, Decimal, Decimal, Decimal]


def minutes_of(trades: list[dict[str, Any]], shift_ms: int) -> dict[int, dict[str, Any]]:
    """The candles that these trades make, by their minute, times shifted."""
    minutes: dict[int, list[dict[str, Any]]] = {}
    for trade in trades:
        minutes.setdefault((trade["T"] + shift_ms) // MINUTE_MS * MINUTE_MS, []).append(trade)
    candles = {}
    for minute, inside in minutes.items():
        prices = [Decimal(trade["p"]) for trade in inside]
        amounts = [Decimal(trade["q"]) for trade in inside]
        bought = [not trade["m"] for trade in inside]
        quotes = [price * amount for price, amount in zip(prices, amounts, strict=True)]
        candles[minute] = {
            "open_price": prices[0],
            "high_price": max(prices),
            "low_price": min(prices),
            "close_price": prices[-1],
            "volume": sum(amounts),
            "quote_volume": sum(quotes),
            "taker_buy_volume": sum(a for a, is_buy in zip(amounts, bought, strict=True) if is_buy),
            "taker_buy_quote_volume": sum(
                q for q, is_buy in zip(quotes, bought, strict=True) if is_buy
            ),
            "trades": len(inside),
        }
    return candles


def read(capture: Path) -> tuple[list[dict[str, Any]], dict[int, Best]]:
    """The recorded trades, and the best prices by update id as bookTicker told them."""
    trades, best = [], {}
    with gzip.open(capture) as lines:
        for line in lines:
            payload = json.loads(line.split(b" ", 1)[1])
            if "@trade" in payload.get("stream", ""):
                trades.append(payload["data"])
            elif "@bookTicker" in payload.get("stream", ""):
                told = payload["data"]
                best[told["u"]] = tuple(Decimal(told[k]) for k in "bBaA")
    return trades, best


def first_minute(exchange: RunningExchange) -> int:
    """When the recording begins on this exchange."""
    real_ms = exchange.now_ms()
    exchange.set_now(real_ms + 30 * MINUTE_MS)
    rows = exchange.truth_klines(SYMBOL, real_ms - MINUTE_MS, real_ms + 5 * MINUTE_MS)
    return next(row[0] for row in rows if row[8])


async def test_a_recorded_market_reaches_the_client_candle_by_candle(
    pool, database, redis_settings, tmp_path
):
    capture = recorded("btcusdt_20240808.gz")
    trades, best = read(capture)
    async with running_exchange(replay=str(capture)) as exchange:
        start_ms = first_minute(exchange)
        live_ms = start_ms + 4 * MINUTE_MS
        exchange.set_now(live_ms + 45_000)  # the fifth minute closes while we listen
        async with (
            running_service(
                "data-collector", port_name="COLLECTOR_PORT", database=database,
                redis=redis_settings, log=tmp_path / "collector.log",
                BINANCE_BASE_URL=exchange.rest_url, BINANCE_WS_URL=exchange.ws_url,
                SYMBOLS=SYMBOL, ORDERBOOK_LEVELS=50, ORDERBOOK_UPDATE_INTERVAL=0.1,
                START_DATE=time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(start_ms / 1000)),
            ),
            running_service(
                "api-server", port_name="API_PORT", database=database, redis=redis_settings,
                log=tmp_path / "api.log",
            ) as api,
            aiohttp.ClientSession() as session,
        ):  # fmt: skip
            await api.until_healthy()
            async with asyncio.timeout(60):
                while True:
                    params = {"symbol": SYMBOL, "timeframe": "1", "limit": "10"}
                    async with session.get(f"{api.url}/candles", params=params) as answer:
                        candles = await answer.json() if answer.status == 200 else []
                    closed = {c["timestamp"]: c for c in candles if c["is_closed"]}
                    if len(closed) >= 5 and live_ms in closed:
                        break
                    await asyncio.sleep(0.2)

    wanted = minutes_of(trades, start_ms - trades[0]["T"] // MINUTE_MS * MINUTE_MS)
    assert len(wanted) == 7
    compared = 0
    for minute, candle in closed.items():
        if minute in wanted:
            told = {name: Decimal(candle[name]) for name in wanted[minute]}
            assert told == wanted[minute]
            compared += 1
    assert compared == 5

    books = await pool.fetch("SELECT last_update_id, bids, asks FROM orderbook_data")
    common = [row for row in books if row["last_update_id"] in best]
    assert common
    for row in common:
        bid, ask = json.loads(row["bids"])[0], json.loads(row["asks"])[0]
        assert tuple(map(Decimal, (*bid, *ask))) == best[row["last_update_id"]]
