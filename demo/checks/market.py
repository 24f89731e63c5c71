# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Checks of the market data API: every endpoint, and each against the others."""

import asyncio
import time
from decimal import Decimal
from functools import partial
from typing import Any

from checks.grid import MINUTE_MS, TIMEFRAMES, differences, next_open_ms, open_ms
from checks.probe import Check, NothingToCheckError, Probe, expect

NUMBERS = ("open_price", "high_price", "low_price", "close_price")
TRIES = 8
RETRY_S = 0.3
FAR = Decimal("0.05")


class MarketChecks:
    """The checks for one symbol."""

    def __init__(self, probe: Probe, symbol: str) -> None:
        self._probe = probe
        self._symbol = symbol

    def checks(self) -> list[Check]:
        """Return them in the order of the table."""
        return [
            Check("health: every part works", self.health),
            Check("symbols: the symbol is one of them", self.symbols),
            *(
                Check(f"candles {t}: in order, on the grid", partial(self.rows, t))
                for t in TIMEFRAMES
            ),
            *(
                Check(f"candles {t}: equal to their parts", partial(self.parts, t))
                for t in TIMEFRAMES[1:]
            ),
            Check("candles: ranges, order and limit", self.ranges),
            Check("candles: ETag, CSV, Parquet", self.doors),
            Check("order book: sorted, not crossed, near the price", self.book),
            Check("price: equal to the candles", self.price),
            Check("trades: newest first, near the price", self.trades),
            Check("gaps: every hole has a reason", self.gaps),
            Check("errors: 400 and 404 with their texts", self.errors),
            Check("metrics: readable by Prometheus", self.metrics),
            Check("the web page is there", self.page),
        ]

    async def _candles(self, timeframe: str, **query: Any) -> list[dict[str, Any]]:
        rows = await self._probe.read("/candles", symbol=self._symbol, timeframe=timeframe, **query)
        expect(isinstance(rows, list), "not an array")
        return list(rows)

    async def health(self) -> str:
        """Every component is healthy."""
        body = await self._probe.read("/health")
        expect(body["status"] == "healthy", f"{body}")
        return f"database {body['database']}"

    async def symbols(self) -> str:
        """The list has the symbol."""
        symbols = (await self._probe.read("/symbols"))["symbols"]
        expect(self._symbol in symbols, f"{self._symbol} is not one of {symbols[:10]}")
        return f"{len(symbols)} symbols"

    async def rows(self, timeframe: str) -> str:
        """The newest candles of a timeframe make sense by themselves."""
        rows = await self._candles(timeframe, limit=500)
        expect(0 < len(rows) <= 500, f"{len(rows)} rows")
        times = [row["timestamp"] for row in rows]
        expect(times == sorted(set(times)), "not ascending")
        for row in rows:
            opened = row["timestamp"]
            expect(open_ms(timeframe, opened) == opened, f"{opened} is not on the grid")
            low, high = Decimal(row["low_price"]), Decimal(row["high_price"])
            inside = all(low <= Decimal(row[name]) <= high for name in NUMBERS)
            expect(inside, f"{opened}: open and close are not between low and high")
        expect(all(row["is_closed"] for row in rows[:-1]), "an old candle is not closed")
        return f"{len(rows)} rows, newest {rows[-1]['close_price']}"

    async def parts(self, timeframe: str) -> str:
        """The newest closed candle is what its minutes (or days) make up."""
        closed = [row for row in await self._candles(timeframe, limit=3) if row["is_closed"]]
        if not closed:
            raise NothingToCheckError("none is closed yet")
        row = closed[-1]
        opened = row["timestamp"]
        until = next_open_ms(timeframe, opened)
        source = "1D" if timeframe in {"1W", "1M"} else "1"
        parts = await self._candles(
            source, start_date=opened, end_date=until - MINUTE_MS, limit=5000
        )
        wrong = differences(row, parts)
        expect(not wrong, f"{row['open_time']}: {'; '.join(wrong)}")
        return f"{row['open_time'][:16]}: {len(parts)} x {source}"

    async def ranges(self) -> str:
        """A range has its bounds, both directions agree, the limit holds."""
        newest = await self._candles("1", limit=50)
        expect(len(newest) == min(50, len(newest)), "more rows than asked for")
        if len(newest) < 4:
            raise NothingToCheckError("too few candles")
        first, last = newest[0]["timestamp"], newest[-2]["timestamp"]
        ascending = await self._candles("1", start_date=first, end_date=last)
        descending = await self._candles("1", start_date=first, end_date=last, order="desc")
        expect(ascending == newest[:-1], "a range differs from the newest candles")
        expect(descending == ascending[::-1], "desc is not asc backwards")
        page = await self._candles("1", start_date=newest[0]["open_time"], limit=3)
        expect(page == newest[:3], "start_date and limit are not the oldest ones from there on")
        return f"{len(ascending)} rows both ways"

    async def doors(self) -> str:
        """Other formats hold the same rows; an unchanged answer is not sent again."""
        end = open_ms("1H", time.time_ns() // 1_000_000) - MINUTE_MS
        about: dict[str, Any] = {
            "symbol": self._symbol,
            "timeframe": "1",
            "start_date": end - 600 * MINUTE_MS,
            "end_date": end,
        }
        answer = await self._probe.ask("/candles", **about, limit=5000)
        rows = answer.json()
        tag = {"if-none-match": answer.headers["etag"]}
        await self._probe.ask("/candles", must_be=304, headers=tag, **about, limit=5000)
        csv = (await self._probe.ask("/candles", **about, format="csv")).text.splitlines()
        expect(len(csv) == len(rows) + 1, f"CSV has {len(csv) - 1} rows, JSON {len(rows)}")
        expect(csv[0].startswith("timestamp,"), "CSV has no header")
        packed = (await self._probe.ask("/candles", **about, format="parquet")).content
        expect(packed[:4] == packed[-4:] == b"PAR1", "not a Parquet file")
        return f"{len(rows)} rows, {len(packed):,} bytes of Parquet"

    async def book(self) -> str:
        """Sides are sorted and do not cross."""
        books = {}
        for levels in (5, 10, 20):
            book = await self._probe.read("/orderbook", symbol=self._symbol, levels=levels)
            bids = [Decimal(level["price"]) for level in book["bids"]]
            asks = [Decimal(level["price"]) for level in book["asks"]]
            expect(0 < len(bids) <= levels and 0 < len(asks) <= levels, "wrong number of levels")
            expect(bids == sorted(set(bids), reverse=True), "bids are not descending")
            expect(asks == sorted(set(asks)), "asks are not ascending")
            expect(bids[0] < asks[0], f"crossed: {bids[0]} >= {asks[0]}")
            quantities = [Decimal(x["quantity"]) for x in book["bids"] + book["asks"]]
            expect(min(quantities) > 0, "an empty level")
            books[levels] = (bids[0] + asks[0]) / 2
        close = Decimal((await self._candles("1", limit=1))[0]["close_price"])
        expect(abs(books[20] / close - 1) < FAR, f"mid {books[20]} is far from {close}")
        return f"mid {books[20].normalize():f}"

    async def price(self) -> str:
        """Price and change are those of the two newest candles."""
        for _ in range(TRIES):  # they move between two requests
            rows, price, again = [
                await self._candles("1H", limit=2),
                await self._probe.read("/price", symbol=self._symbol, timeframe="1H"),
                await self._candles("1H", limit=2),
            ]
            if rows == again or rows[-1]["close_price"] == again[-1]["close_price"]:
                break
            await asyncio.sleep(RETRY_S)
        if len(rows) < 2:
            raise NothingToCheckError("too few candles")
        told = (price["timestamp"], price["current_price"], price["previous_price"])
        known = (rows[1]["timestamp"], rows[1]["close_price"], rows[0]["close_price"])
        expect(told == known, f"{told} instead of {known}")
        change = Decimal(price["current_price"]) - Decimal(price["previous_price"])
        expect(Decimal(price["change_absolute"]) == change, "the change is not the difference")
        trend = "up" if change > 0 else "down" if change < 0 else "neutral"
        expect(price["trend"] == trend, f"trend {price['trend']}")
        return f"{price['current_price']} ({price['change_percent']} %)"

    async def trades(self) -> str:
        """Trades are in order and near the price."""
        trades = (await self._probe.read(f"/trades/{self._symbol}", limit=50))["trades"]
        if not trades:
            raise NothingToCheckError("no trades yet")
        ids = [trade["id"] for trade in trades]
        expect(ids == sorted(set(ids), reverse=True), "not the newest first")
        close = Decimal((await self._candles("1", limit=1))[0]["close_price"])
        last = Decimal(trades[0]["price"])
        expect(abs(last / close - 1) < FAR, f"{last} is far from {close}")
        return f"{len(trades)} trades, newest {last.normalize():f}"

    async def gaps(self) -> str:
        """The ledger's entries are whole; none is open without end."""
        gaps = (await self._probe.read("/gaps", symbol=self._symbol))["gaps"]
        for gap in gaps:
            expect(gap["minutes"] > 0, f"{gap['start']}: no minutes")
            expect(gap["state"] == "open" or bool(gap["reason"]), f"{gap['start']}: no reason")
        return f"{len(gaps)} gaps"

    async def errors(self) -> str:
        """Wrong parameters are refused with what is allowed."""
        refused, symbol = self._probe.refused, self._symbol
        await refused("/candles", 400, "symbol parameter is required")
        await refused(
            "/candles", 400, "Invalid timeframe. Supported:", symbol=symbol, timeframe="7"
        )
        await refused("/candles", 400, "limit must be between 1 and 5000", symbol=symbol, limit=0)
        await refused("/candles", 400, "Invalid start_date", symbol=symbol, start_date="soon")
        await refused("/candles", 404, "No data available", symbol="NOSUCHCOIN")
        await refused("/orderbook", 400, "Invalid levels. Supported:", symbol=symbol, levels=7)
        await refused("/orderbook", 400, "levels must be an integer", symbol=symbol, levels="x")
        await refused("/orderbook", 404, "No orderbook data", symbol="NOSUCHCOIN")
        await refused("/price", 404, "No data available", symbol="NOSUCHCOIN")
        await self._probe.ask("/no/such/path", must_be=404)
        return "10 refusals"

    async def metrics(self) -> str:
        """The figures are there, now and over time."""
        text = (await self._probe.ask("/metrics")).text
        expect("# TYPE" in text, "not Prometheus' format")
        await self._probe.ask("/metrics/history")
        return f"{text.count('# TYPE')} figures"

    async def page(self) -> str:
        """The demo's page is served."""
        text = (await self._probe.ask("/")).text
        expect("<title>Linkora</title>" in text, "not our page")
        return "see it in a browser"
