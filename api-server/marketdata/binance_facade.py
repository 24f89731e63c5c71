# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Binance's read-only REST under ``/api/v3``, so that its clients work here by one URL."""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from linkora.http import json_bytes_response, json_response
from linkora.messages import TradeMessage
from marketdata.binance_intervals import INTERVALS, SECOND, in_zone
from marketdata.binance_params import (
    MAX_DEPTH,
    MAX_KLINES,
    MAX_TRADES,
    illegal,
    interval_of,
    invalid_symbol,
    limit_of,
    not_valid,
    number_of,
    symbol_of,
    symbols_of,
    time_of,
    zone_of,
)
from marketdata.binance_ports import Days, Newest, Queries, Symbols
from marketdata.binance_refusals import PREFIX, Endpoint, guarded
from marketdata.binance_seconds import fold
from marketdata.binance_tickers import day_ticker
from marketdata.binance_wire import (
    aggregate_trade,
    book_ticker,
    depth,
    kline_row,
    rate_limits,
    single_trade,
    symbol_info,
)
from marketdata.params import CandleRange
from marketdata.replies import staleness


class BinanceFacade:
    """The endpoints.

    Args:
        queries: Where klines are.
        symbols: What is known of symbols.
        newest: The newest books, trades and prices.
        days: The newest 24 hours.
        rate_limit: How many requests a minute one address may make, 0 for any number.
    """

    def __init__(
        self, queries: Queries, symbols: Symbols, newest: Newest, days: Days, rate_limit: int = 0
    ) -> None:
        self._queries = queries
        self._symbols = symbols
        self._newest = newest
        self._days = days
        self._rate_limit = rate_limit

    def routes(self) -> list[Route]:
        """Return the routes."""
        endpoints: dict[str, Endpoint] = {
            "ping": self.ping,
            "time": self.time,
            "exchangeInfo": self.exchange_info,
            "klines": self.klines,
            "uiKlines": self.klines,
            "depth": self.depth,
            "aggTrades": self.aggregate_trades,
            "trades": self.trades,
            "ticker/price": self.ticker_price,
            "ticker/24hr": self.ticker_day,
            "ticker/bookTicker": self.ticker_book,
        }
        return [Route(f"{PREFIX}{path}", guarded(ask)) for path, ask in endpoints.items()]

    async def ping(self, _: Request) -> Response:
        """``ping``."""
        return json_response({})

    async def time(self, _: Request) -> Response:
        """``time``."""
        return json_response({"serverTime": _now_ms()})

    async def exchange_info(self, request: Request) -> Response:
        """``exchangeInfo`` of one, some or all symbols."""
        names = await self._asked(request)
        infos = [symbol_info(name, await self._symbols.precision(name)) for name in names]
        return json_response(
            {
                "timezone": "UTC",
                "serverTime": _now_ms(),
                "rateLimits": rate_limits(self._rate_limit),
                "exchangeFilters": [],
                "symbols": infos,
            }
        )

    async def klines(self, request: Request) -> Response:
        """``klines``: from ``startTime`` on, else the newest ones up to ``endTime``."""
        query = request.query_params
        symbol, interval, shift_ms = symbol_of(query), interval_of(query), zone_of(query)
        limit = limit_of(query, 500, MAX_KLINES)
        start_ms, end_ms = time_of(query, "startTime"), time_of(query, "endTime")
        await self._known(symbol)
        if interval == SECOND:
            rows, is_stale = await self._seconds(symbol, start_ms, end_ms, limit)
            return json_response(rows, headers=staleness(is_stale))
        frame = in_zone(INTERVALS[interval], shift_ms)
        if frame is None:
            raise not_valid("timeZone")
        wanted = CandleRange(symbol, frame, start_ms, end_ms, limit, "asc")
        return json_bytes_response(await self._queries.klines_json(wanted))

    async def depth(self, request: Request) -> Response:
        """``depth``: as many levels as are wanted and kept."""
        symbol = await self._known(symbol_of(request.query_params))
        limit = limit_of(request.query_params, 100, MAX_DEPTH)
        book, is_stale = await self._newest.newest_book(symbol)
        if book is None:
            return json_response({"lastUpdateId": 0, "bids": [], "asks": []})
        return json_response(depth(book, limit), headers=staleness(is_stale))

    async def aggregate_trades(self, request: Request) -> Response:
        """``aggTrades``: of the recent trades, the oldest first."""
        trades, is_stale = await self._trades(request)
        return json_response([aggregate_trade(x) for x in trades], headers=staleness(is_stale))

    async def trades(self, request: Request) -> Response:
        """``trades``: the recent ones, the oldest first."""
        trades, is_stale = await self._trades(request)
        return json_response([single_trade(x) for x in trades], headers=staleness(is_stale))

    async def ticker_price(self, request: Request) -> Response:
        """``ticker/price`` of one, some or all symbols."""
        names = await self._asked(request)
        prices = [(name, *await self._newest.newest_price(name)) for name in names]
        told = [{"symbol": name, "price": price} for name, price, _ in prices if price is not None]
        return _one_or_all(request, told, any(is_stale for _, _, is_stale in prices))

    async def ticker_day(self, request: Request) -> Response:
        """``ticker/24hr`` of one, some or all symbols."""
        kind = request.query_params.get("type", "FULL")
        if kind not in {"FULL", "MINI"}:
            raise illegal("type", "^(FULL|MINI)$")
        names = await self._asked(request)
        days = await self._days.newest()
        told, are_stale = [], False
        for name in names:
            if name in days:
                book, is_stale = await self._newest.newest_book(name)
                told.append(day_ticker(days[name], book, is_mini=kind == "MINI"))
                are_stale |= is_stale
        return _one_or_all(request, told, are_stale)

    async def ticker_book(self, request: Request) -> Response:
        """``ticker/bookTicker`` of one, some or all symbols."""
        told, are_stale = [], False
        for name in await self._asked(request):
            book, is_stale = await self._newest.newest_book(name)
            are_stale |= is_stale
            if book is not None and book.bids and book.asks:
                best = book_ticker(book)
                told.append(
                    {
                        "symbol": name,
                        "bidPrice": best["b"],
                        "bidQty": best["B"],
                        "askPrice": best["a"],
                        "askQty": best["A"],
                    }
                )
        return _one_or_all(request, told, are_stale)

    async def _trades(self, request: Request) -> tuple[list[TradeMessage], bool]:
        query = request.query_params
        symbol = await self._known(symbol_of(query))
        limit = limit_of(query, 500, MAX_TRADES)
        from_id = number_of(query, "fromId")
        start_ms = time_of(query, "startTime")
        end_ms = time_of(query, "endTime")
        recent, is_stale = await self._newest.newest_trades(symbol, MAX_TRADES)
        kept = [
            trade
            for trade in reversed(recent)
            if (from_id is None or trade.id >= from_id)
            and (start_ms is None or trade.timestamp >= start_ms)
            and (end_ms is None or trade.timestamp <= end_ms)
        ]
        from_start = from_id is not None or start_ms is not None
        return kept[:limit] if from_start else kept[-limit:], is_stale

    async def _seconds(
        self, symbol: str, start_ms: int | None, end_ms: int | None, limit: int
    ) -> tuple[list[list[Any]], bool]:
        """Return rows of one second, as far back as the recent trades reach without a hole."""
        recent, is_stale = await self._newest.newest_trades(symbol, MAX_TRADES)
        rows = [
            kline_row(candle)
            for candle in fold(symbol, recent)
            if (start_ms is None or candle.open_time_ms >= start_ms)
            and (end_ms is None or candle.open_time_ms <= end_ms)
        ]
        return rows[-limit:] if start_ms is None else rows[:limit], is_stale

    async def _asked(self, request: Request) -> list[str]:
        names = symbols_of(request.query_params)
        if names is None:
            return await self._symbols.names()
        return [await self._known(name) for name in names]

    async def _known(self, name: str) -> str:
        if name not in await self._symbols.names():
            raise invalid_symbol()
        return name


def _one_or_all(request: Request, told: list[dict[str, Any]], are_stale: bool) -> Response:
    if "symbol" in request.query_params:
        if not told:
            raise invalid_symbol()
        return json_response(told[0], headers=staleness(are_stale))
    return json_response(told, headers=staleness(are_stale))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
