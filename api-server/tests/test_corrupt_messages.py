# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Whatever comes over our own channels: it is counted, and what comes after it is still told."""

import json
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from linkora import channels
from linkora.market import Trade
from linkora.messages import (
    MAX_MESSAGE_BYTES,
    Position,
    encode_candle,
    encode_order_book,
    encode_trades,
)
from linkora.timeframes import floor_minute_ms
from testkit.market import Collector, Server, book, minute, now_ms, receive, running, until

SYMBOL = "BTCUSDT"
KINDS = ("candles", "orderbook", "trades")
CHANNELS = (channels.CANDLES_ALL, channels.ORDERBOOK_ALL, channels.TRADES_ALL)
PLACE = Position(1, 1)
PLAIN_GARBAGE = (
    b"", b"garbage", b"null", b"5", b"[]", b"{}", b'"text"', b"{", b"\xff\xfe\x00",
    b'{"symbol":"\xff"}', b'{"symbol":"\\ud800"}', b"[" * 60_000, b'{"a":' * 60_000,
    b'{"symbol":"' + b"x" * MAX_MESSAGE_BYTES + b'"}',
)  # fmt: skip
WRONG_NUMBERS = (
    "NaN", "sNaN", "Infinity", "-1", "1e9", "1E-400000000", "1_0", " 1", "1\n", "", "٣", "9" * 99,
    1, 1.5, None, [], {}, True,
)  # fmt: skip
WRONG_INTEGERS = (-1, 10**30, 1.5, "1", None, [], {})


def good(kind: str) -> dict[str, Any]:
    newest_ms = floor_minute_ms(now_ms())
    trade = Trade(
        symbol=SYMBOL, id=7, price=minute(SYMBOL, newest_ms).open, quantity=Decimal(1),
        time_ms=newest_ms, is_buyer_maker=True,
    )  # fmt: skip
    payload = {
        "candles": partial(encode_candle, minute(SYMBOL, newest_ms)),
        "orderbook": partial(encode_order_book, book(SYMBOL, now_ms())),
        "trades": partial(encode_trades, SYMBOL, [trade]),
    }[kind]
    message: dict[str, Any] = json.loads(payload(PLACE))
    return message


def spoilt(message: Any) -> list[Any]:
    """Return the message with each field in turn gone or of a form that it must not have."""
    found: list[Any] = []
    if isinstance(message, dict):
        for name, value in message.items():
            found.append({k: v for k, v in message.items() if k != name})
            found += [{**message, name: wrong} for wrong in wrong_values(value)]
    elif isinstance(message, list):
        found += [[each, *message[1:]] for each in spoilt(message[0])]
    return found


def wrong_values(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return ["true", None, 2]
    if isinstance(value, int):
        return list(WRONG_INTEGERS)
    if isinstance(value, list):
        return [None, {}, "x", [None], [[]], *spoilt(value)]
    return list(WRONG_NUMBERS) if value.replace(".", "").isdigit() else [None, 5, [], "", "x" * 99]


@pytest.mark.usefixtures("lifted_recursion_limit")
@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_comes_over_a_channel_is_counted_and_the_news_go_on(
    kind: str, collector: Collector, server: Server, redis_client: Redis
) -> None:
    channel = dict(zip(KINDS, CHANNELS, strict=True))[kind]
    seen = now_ms()
    message = good(kind)
    garbage = [*PLAIN_GARBAGE, *(json.dumps(each).encode() for each in spoilt(message))]
    if kind == "trades":
        garbage.append(json.dumps({**message, "trades": []}).encode())
    name = SYMBOL.lower()
    streams = "/".join((f"{name}@kline_1s", f"{name}@bookTicker", f"{name}@trade"))
    async with (
        server.ws(symbol=SYMBOL, type=kind) as socket,
        server.client.ws_connect(f"/binance/stream?streams={streams}") as binance,
    ):
        await binance.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        await binance.receive_json(timeout=30)
        for each in garbage:
            await redis_client.publish(channel, each)
        await until(partial(has_counted, server, len(garbage)), timeout_s=30)
        if kind == "candles":
            newest = minute(SYMBOL, floor_minute_ms(seen), trades=10**6)
            await collector.publish(running(newest))
        else:
            await redis_client.publish(channel, json.dumps(message))
        told = await receive(socket, timeout_s=30)
        while told.get("channel") != kind or not is_the_good_one(kind, told, message):
            told = await receive(socket, timeout_s=30)
    report = await server.get("/health")
    assert report["live_data"] == "healthy"


def is_the_good_one(kind: str, told: dict[str, Any], message: dict[str, Any]) -> bool:
    if kind == "candles":
        return bool(told["trades"] == 10**6)
    return bool(told["bids"] if kind == "orderbook" else told["trades"] == message["trades"])


async def has_counted(server: Server, count: int) -> bool:
    async with server.client.get("/metrics") as answer:
        text = await answer.text()
    (line,) = (x for x in text.splitlines() if x.startswith("relay_corrupt_messages_total"))
    return float(line.split()[1]) == count


async def test_a_kept_trade_that_is_none_is_left_out_of_the_answer(
    server: Server, redis_client: Redis
) -> None:
    (trade,) = good("trades")["trades"]
    key = channels.recent_trades_key(SYMBOL)
    await redis_client.lpush(key, json.dumps(trade), b"\xff", b"{}", b"[" * 60_000)
    assert (await server.get(f"/trades/{SYMBOL}"))["trades"] == [trade]
