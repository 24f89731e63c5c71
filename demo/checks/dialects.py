# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Checks of the doors for other people's clients, and of the documents."""

import time
from decimal import Decimal
from typing import Any

from checks.market import FAR, NUMBERS
from checks.probe import Check, NothingToCheckError, Probe, expect


class DialectChecks:
    """The checks for one symbol; run them after the others, for the documents' sake."""

    def __init__(self, probe: Probe, symbol: str) -> None:
        self._probe = probe
        self._symbol = symbol

    def checks(self) -> list[Check]:
        """Return them in the order of the table."""
        return [
            Check("TradingView's door: equal to the candles", self.udf),
            Check("Binance's door: equal to the candles", self.facade),
            Check("documents: every path in them was checked", self.documents),
        ]

    async def _closed(self, timeframe: str, limit: int) -> list[dict[str, Any]]:
        rows = await self._probe.read(
            "/candles", symbol=self._symbol, timeframe=timeframe, limit=limit
        )
        closed = [row for row in rows if row["is_closed"]]
        if not closed:
            raise NothingToCheckError("no candle is closed yet")
        return closed

    async def udf(self) -> str:
        """The bars of TradingView's protocol are the candles."""
        config = await self._probe.read("/udf/config")
        expect("60" in config["supported_resolutions"], f"{config}")
        now_s = int((await self._probe.ask("/udf/time")).text)
        expect(abs(now_s - time.time()) < 120, "clocks differ by minutes")
        about = await self._probe.read("/udf/symbols", symbol=self._symbol)
        expect(bool(about["name"]), f"{about}")
        found = await self._probe.read("/udf/search", query=self._symbol[:3], limit=10)
        expect(len(found) > 0, "the search finds nothing")
        closed = await self._closed("1H", 20)
        first_s, last_s = (row["timestamp"] // 1000 for row in (closed[0], closed[-1]))
        bars = await self._probe.read(
            "/udf/history", symbol=self._symbol, resolution="60",
            **{"from": first_s, "to": last_s + 1},
        )  # fmt: skip
        closes = dict(zip(bars["t"], bars["c"], strict=True))
        for row in closed:
            told = closes.get(row["timestamp"] // 1000)
            expect(told == float(row["close_price"]), f"{row['open_time']}: {told}")
        return f"{len(closed)} bars"

    async def facade(self) -> str:
        """The answers in Binance's form are the candles and the book."""
        read, symbol = self._probe.read, self._symbol
        await read("/api/v3/ping")
        expect((await read("/api/v3/time"))["serverTime"] > 0, "no time")
        listed = await read("/api/v3/exchangeInfo", symbol=symbol)
        expect(listed["symbols"][0]["symbol"] == symbol, "the symbol is not listed")
        closed = await self._closed("5", 10)
        klines = await read(
            "/api/v3/klines", symbol=symbol, interval="5m", startTime=closed[0]["timestamp"]
        )
        by_time = {kline[0]: kline for kline in klines}
        for row in closed:
            kline = by_time[row["timestamp"]]
            same = all(
                Decimal(kline[place]) == Decimal(row[name])
                for place, name in enumerate((*NUMBERS, "volume"), start=1)
            )
            expect(same, f"{row['open_time']}: {kline}")
        depth = await read("/api/v3/depth", symbol=symbol, limit=5)
        expect(Decimal(depth["bids"][0][0]) < Decimal(depth["asks"][0][0]), "crossed")
        price = Decimal((await read("/api/v3/ticker/price", symbol=symbol))["price"])
        expect(abs(price / Decimal(closed[-1]["close_price"]) - 1) < FAR, f"{price} is far off")
        best = await read("/api/v3/ticker/bookTicker", symbol=symbol)
        expect(Decimal(best["bidPrice"]) < Decimal(best["askPrice"]), "crossed")
        await read("/api/v3/ticker/24hr", symbol=symbol)
        until = {"interval": "5m", "endTime": closed[-1]["timestamp"], "limit": 3}
        same = await read("/api/v3/uiKlines", symbol=symbol, **until)
        expect(same == await read("/api/v3/klines", symbol=symbol, **until), "uiKlines differ")
        for path in ("/api/v3/trades", "/api/v3/aggTrades"):
            times = [trade.get("time", trade.get("T")) for trade in await read(path, symbol=symbol)]
            expect(times == sorted(times), f"{path}: not in order of time")
        return f"{len(closed)} klines"

    async def documents(self) -> str:
        """Every documented path was asked for above; the socket is described, too."""
        await self._probe.ask("/docs")
        described = await self._probe.read("/asyncapi.json")
        expect(described["asyncapi"].startswith("3."), "not AsyncAPI 3")
        return await self._probe.documented()
