# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A collector in miniature, made candles, and a client for the server under test."""

import asyncio
import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import aiohttp
import asyncpg
import msgspec

from linkora import channels
from linkora.market import Candle, Level, OrderBook
from linkora.messages import encode_candle, encode_order_book
from linkora.pubsub import Publisher
from linkora.timeframes import MINUTE_MS, floor_minute_ms

WAIT_S = 30.0  # generous: other tests keep the machine busy
START_MARGIN_MS = 3_000

_STORE = """
INSERT INTO candles (symbol, open_time, close_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume, is_closed, revision)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[]::numeric[],
    $5::text[]::numeric[], $6::text[]::numeric[], $7::text[]::numeric[], $8::text[]::numeric[],
    $9::text[]::numeric[], $10::bigint[], $11::text[]::numeric[], $12::text[]::numeric[],
    $13::boolean[], $14::int[])
ON CONFLICT (symbol, open_time) DO UPDATE SET close_time = excluded.close_time,
    open_price = excluded.open_price, high_price = excluded.high_price,
    low_price = excluded.low_price, close_price = excluded.close_price, volume = excluded.volume,
    quote_volume = excluded.quote_volume, trades = excluded.trades,
    taker_buy_volume = excluded.taker_buy_volume,
    taker_buy_quote_volume = excluded.taker_buy_quote_volume, is_closed = excluded.is_closed,
    revision = excluded.revision, updated_at = now()
"""
_STATE = """
INSERT INTO collector_state (symbol, first_open_time, last_open_time)
SELECT symbol, min(open_time), max(open_time) FROM candles WHERE symbol = ANY($1) GROUP BY symbol
ON CONFLICT (symbol) DO UPDATE SET first_open_time = excluded.first_open_time,
    last_open_time = excluded.last_open_time
"""
_ROLL_UP = "SELECT roll_up($1, $2, $3)"


def moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def minute(symbol: str, open_ms: int, **changes: Any) -> Candle:
    """Return a closed one-minute candle whose numbers follow from symbol and time."""
    step = (open_ms // MINUTE_MS * 7919 + len(symbol) * 31 + ord(symbol[0])) % 10_007
    base = Decimal(step) / 100 + 100
    values: dict[str, Any] = {
        "symbol": symbol,
        "open_time_ms": open_ms,
        "close_time_ms": open_ms + MINUTE_MS - 1,
        "open": base,
        "high": base + Decimal(step % 89) / 10,
        "low": base - Decimal(step % 83) / 10,
        "close": base + Decimal(step % 17) - 8,
        "volume": Decimal(step) / 1000,
        "quote_volume": Decimal(step) * base / 1000,
        "trades": step,
        "taker_buy_volume": Decimal(step) / 3000,
        "taker_buy_quote_volume": Decimal(step) / 7,
        "is_closed": True,
    }
    values.update(changes)
    amounts = {k: v.quantize(Decimal("1E-8")) for k, v in values.items() if isinstance(v, Decimal)}
    return Candle(**{**values, **amounts})


def running(candle: Candle, **changes: Any) -> Candle:
    """Return ``candle`` as it was before its close."""
    return msgspec.structs.replace(candle, is_closed=False, **changes)


def book(symbol: str, timestamp_ms: int, levels: int = 20) -> OrderBook:
    step = Decimal("0.01")
    mid = Decimal(timestamp_ms % 1000) + 1000
    return OrderBook(
        symbol=symbol,
        timestamp_ms=timestamp_ms,
        last_update_id=timestamp_ms,
        bids=tuple(Level(mid - step * (i + 1), Decimal(i + 1)) for i in range(levels)),
        asks=tuple(Level(mid + step * (i + 1), Decimal(i + 2)) for i in range(levels)),
    )


class Collector:
    """Stores candles with their rollups, then publishes them."""

    def __init__(self, pool: asyncpg.Pool, publisher: Publisher) -> None:
        self.pool = pool
        self.publisher = publisher

    async def fill(self, symbols: Iterable[str], *, minutes: int) -> None:
        """Store ``minutes`` minutes up to now; the newest one is running, for 3 s at least."""
        if (left_ms := MINUTE_MS - now_ms() % MINUTE_MS) < START_MARGIN_MS:
            await asyncio.sleep(left_ms / 1000)
        newest_ms = floor_minute_ms(now_ms())
        opens = range(newest_ms - (minutes - 1) * MINUTE_MS, newest_ms + 1, MINUTE_MS)
        for symbol in symbols:
            candles = [minute(symbol, open_ms) for open_ms in opens]
            candles[-1] = running(candles[-1])
            await self.store(candles)

    async def store(self, candles: list[Candle]) -> None:
        """Store candles and roll them up in one transaction."""
        symbols = sorted({candle.symbol for candle in candles})
        opens = [candle.open_time_ms for candle in candles]
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(_STORE, *columns(candles))
            span = moment(min(opens)), moment(max(opens) + MINUTE_MS)
            await connection.execute(_ROLL_UP, symbols, *span)
            await connection.execute(_STATE, symbols)

    async def roll_up(self, symbol: str, from_ms: int, to_ms: int) -> None:
        """Make the wider candles of a span anew."""
        await self.pool.execute(_ROLL_UP, [symbol], moment(from_ms), moment(to_ms))

    async def store_minutes(self, candles: list[Candle]) -> None:
        """Store one-minute rows only, for what reads nothing else."""
        await self.pool.execute(_STORE, *columns(candles))

    async def publish(self, *candles: Candle) -> None:
        await self.publisher.publish(
            [(channels.CANDLES_ALL, partial(encode_candle, candle)) for candle in candles]
        )

    async def tell(self, *candles: Candle) -> None:
        """Commit, then publish."""
        await self.store(list(candles))
        await self.publish(*candles)

    async def publish_books(self, *books: OrderBook) -> None:
        await self.publisher.publish(
            [(channels.ORDERBOOK_ALL, partial(encode_order_book, each)) for each in books]
        )

    async def store_book(self, each: OrderBook) -> None:
        sides = [
            json.dumps([[str(level.price), str(level.quantity)] for level in side])
            for side in (each.bids, each.asks)
        ]
        await self.pool.execute(
            "INSERT INTO orderbook_data VALUES ($1, $2, $3, $4, $5)",
            each.symbol,
            moment(each.timestamp_ms),
            each.last_update_id,
            *sides,
        )


def columns(candles: list[Candle]) -> list[list[Any]]:
    rows = [
        (
            candle.symbol,
            moment(candle.open_time_ms),
            moment(candle.close_time_ms),
            *(str(x) for x in (candle.open, candle.high, candle.low, candle.close)),
            str(candle.volume),
            str(candle.quote_volume),
            candle.trades,
            str(candle.taker_buy_volume),
            str(candle.taker_buy_quote_volume),
            candle.is_closed,
            candle.revision,
        )
        for candle in candles
    ]
    return [list(column) for column in zip(*rows, strict=True)]


class Server:
    """A running API server, seen from a client."""

    def __init__(self, client: aiohttp.ClientSession, port: int) -> None:
        self.client = client
        self.port = port

    async def get(self, path: str, **params: Any) -> Any:
        """Return the decoded body of a successful answer."""
        async with self.client.get(path, params=params) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def refused(self, path: str, **params: Any) -> tuple[int, Any]:
        """Return status and body of a refused request."""
        async with self.client.get(path, params=params) as response:
            assert response.status >= 400, await response.text()
            return response.status, await response.json()

    async def until_healthy(self) -> None:
        await until(self._is_healthy)

    async def _is_healthy(self) -> bool:
        async with self.client.get("/health") as response:
            return response.status == 200

    def ws(self, **params: str) -> Any:
        """Open ``/ws``."""
        return self.client.ws_connect("/ws", params=params)


async def until(check: Any, timeout_s: float = WAIT_S) -> None:
    """Wait until ``check()``, awaited if need be, is true."""
    async with asyncio.timeout(timeout_s):
        while True:
            result = check()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            await asyncio.sleep(0.02)


async def receive(socket: aiohttp.ClientWebSocketResponse, timeout_s: float = WAIT_S) -> Any:
    """Return the next JSON message."""
    return await socket.receive_json(timeout=timeout_s)
