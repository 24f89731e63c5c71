# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Checks of the WebSockets: what they tell is what REST tells."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import websockets
from connection import socket_url

from checks.probe import Check, CheckFailedError, Probe, expect

WAIT_S = 15.0
WRONG_PARAMETER = 1008


class StreamChecks:
    """The checks of the market socket for one symbol."""

    def __init__(self, probe: Probe, symbol: str) -> None:
        self._probe = probe
        self._url = socket_url(str(probe.client.base_url), "/ws")
        self._symbol = symbol

    def checks(self) -> list[Check]:
        """Return them in the order of the table."""
        return [
            Check("socket: candles of several timeframes", self.candles),
            Check("socket: order book", self.book),
            Check("socket: trades", self.trades),
            Check("socket: ping, list, errors, close code", self.dialog),
        ]

    async def candles(self) -> str:
        """The first messages are the current candles."""
        names = ("1", "15", "4H", "1M")
        channels = [
            {"type": "candles", "symbol": self._symbol, "timeframe": name} for name in names
        ]
        async with connected(f"{self._url}?type=none") as socket:
            await socket.send(json.dumps({"type": "subscribe", "channels": channels}))
            told: dict[str, dict[str, Any]] = {}
            while len(told) < len(names):
                message = await receive(socket, lambda m: m.get("channel") == "candles")
                told[message["timeframe"]] = message
        for name, message in told.items():
            rows = await self._probe.read("/candles", symbol=self._symbol, timeframe=name, limit=2)
            row = next((r for r in rows if r["timestamp"] == message["timestamp"]), None)
            expect(row is not None, f"{name}: REST has no candle {message['timestamp']}")
            assert row is not None  # noqa: S101 - for the type
            expect(row["open_price"] == message["open"], f"{name}: another open")
            expect(row["trades"] >= message["trades"], f"{name}: REST is behind the socket")
        return f"{len(told)} timeframes over one connection"

    async def book(self) -> str:
        """Books come by themselves."""
        url = f"{self._url}?symbol={self._symbol}&type=orderbook&levels=5"
        async with connected(url) as socket:
            books = [await receive(socket, lambda m: "bids" in m) for _ in range(2)]
        for book in books:
            best = [float(book[side][0]["price"]) for side in ("bids", "asks")]
            expect(best[0] < best[1], "crossed")
            expect(len(book["bids"]) <= 5, "more levels than asked for")
        expect(books[0]["timestamp"] < books[1]["timestamp"], "the second book is not newer")
        return "two books"

    async def trades(self) -> str:
        """Trades come by themselves."""
        url = f"{self._url}?symbol={self._symbol}&type=trades"
        async with connected(url) as socket:
            message = await receive(socket, lambda m: m.get("channel") == "trades")
        expect(message["symbol"] == self._symbol, f"{message}")
        return f"{len(message['trades'])} trades"

    async def dialog(self) -> str:
        """Mistakes are answered and cost nothing; wrong parameters of the URL close the socket."""
        async with connected(f"{self._url}?type=none") as socket:
            await socket.send('{"type":"ping"}')
            await receive(socket, lambda m: m.get("type") == "pong")
            await socket.send('{"type":"subscribe","id":7,"channels":[{"type":"weather"}]}')
            error = await receive(socket, lambda m: m.get("type") == "error")
            expect(error["id"] == 7, f"{error}")
            await socket.send('{"type":"list"}')
            await receive(socket, lambda m: m.get("type") == "subscriptions")
        async with connected(f"{self._url}?timeframe=7") as socket:
            async with asyncio.timeout(WAIT_S):
                await socket.wait_closed()
            expect(socket.close_code == WRONG_PARAMETER, f"closed with {socket.close_code}")
        return "as documented"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[websockets.ClientConnection]:
    """Yield an open socket; the check fails if there is none to be had."""
    try:
        socket = await websockets.connect(url, proxy=None, close_timeout=1)
    except (OSError, websockets.WebSocketException) as error:
        raise CheckFailedError(f"{url}: {error}") from error
    async with socket:
        yield socket


async def receive(
    socket: websockets.ClientConnection, is_wanted: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Return the next message that is wanted."""
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                message: dict[str, Any] = json.loads(await socket.recv())
                if is_wanted(message):
                    return message
    except TimeoutError:
        raise CheckFailedError(f"nothing came in {WAIT_S:g} s") from None
    except websockets.ConnectionClosed as closed:
        raise CheckFailedError(f"closed: {closed}") from closed
