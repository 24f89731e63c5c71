# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Binance's read-only REST under ``/api/v3``, so that its clients work here by one URL."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from linkora.errors import RequestError
from linkora.http import json_bytes_response, json_response
from linkora.market import OrderBook
from linkora.messages import TradeMessage
from marketdata.assets import Precision
from marketdata.binance_params import (
    MAX_DEPTH,
    MAX_KLINES,
    MAX_TRADES,
    BinanceError,
    illegal,
    interval_of,
    invalid_symbol,
    limit_of,
    number_of,
    symbol_of,
    symbols_of,
)
from marketdata.binance_tickers import Day, day_ticker
from marketdata.binance_wire import (
    LEVELS_KEPT,
    aggregate_trade,
    book_ticker,
    depth,
    single_trade,
    symbol_info,
)
from marketdata.params import FIRST_MS, LAST_MS, CandleRange

DAYS_MAX_AGE_S = 1.0
TIME_MAX_MS = LAST_MS - 1
# Microseconds are taken, too: any time beyond the year 5138 in ms.
_MICROSECONDS_FROM = 10**14
Endpoint = Callable[[Request], Awaitable[Response]]


class Queries(Protocol):
    """What is read. Every method raises ``TransientError`` while the database is away."""

    async def klines_json(self, wanted: CandleRange) -> bytes:
        """Return the candles as Binance's rows, a JSON array, ascending."""

    async def newest_days(self, symbols: list[str]) -> list[Day]:
        """Return what the newest 24 hours of each symbol add up to."""


class Symbols(Protocol):
    """What is known of symbols."""

    async def names(self) -> list[str]:
        """Return the known symbols in alphabetical order."""

    async def precision(self, symbol: str) -> Precision:
        """Return how many decimals its prices and amounts have."""


class Newest(Protocol):
    """The newest state, as REST has it; each with whether it may be stale."""

    async def newest_book(self, symbol: str) -> tuple[OrderBook | None, bool]: ...  # noqa: D102
    async def newest_trades(  # noqa: D102
        self, symbol: str, limit: int
    ) -> tuple[list[TradeMessage], bool]: ...
    async def newest_price(self, symbol: str) -> str | None: ...  # noqa: D102


class BinanceFacade:
    """The endpoints."""

    def __init__(self, queries: Queries, symbols: Symbols, newest: Newest) -> None:
        self._queries = queries
        self._symbols = symbols
        self._newest = newest
        self._days: dict[str, Day] = {}
        self._days_at_s = -DAYS_MAX_AGE_S
        self._days_lock = asyncio.Lock()

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
        return [Route(f"/api/v3/{path}", _guarded(ask)) for path, ask in endpoints.items()]

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
                "rateLimits": [],
                "exchangeFilters": [],
                "symbols": infos,
            }
        )

    async def klines(self, request: Request) -> Response:
        """``klines``: from ``startTime`` on, else the newest ones up to ``endTime``."""
        query = request.query_params
        symbol = await self._known(symbol_of(query))
        frame = interval_of(query)
        if query.get("timeZone", "0") not in {"0", "+0", "00:00", "0:00", "+00:00"}:
            raise illegal("timeZone", "^0$")
        wanted = CandleRange(
            symbol=symbol,
            frame=frame,
            start_ms=_time_of(query.get("startTime"), "startTime"),
            end_ms=_time_of(query.get("endTime"), "endTime"),
            limit=limit_of(query, 500, MAX_KLINES),
            order="asc",
        )
        return json_bytes_response(await self._queries.klines_json(wanted))

    async def depth(self, request: Request) -> Response:
        """``depth``: as many levels as are kept."""
        symbol = await self._known(symbol_of(request.query_params))
        limit = limit_of(request.query_params, 100, MAX_DEPTH)
        book, _ = await self._newest.newest_book(symbol)
        if book is None:
            return json_response({"lastUpdateId": 0, "bids": [], "asks": []})
        return json_response(depth(book, min(limit, LEVELS_KEPT)))

    async def aggregate_trades(self, request: Request) -> Response:
        """``aggTrades``: of the recent trades, the oldest first."""
        return json_response([aggregate_trade(trade) for trade in await self._trades(request)])

    async def trades(self, request: Request) -> Response:
        """``trades``: the recent ones, the oldest first."""
        return json_response([single_trade(trade) for trade in await self._trades(request)])

    async def ticker_price(self, request: Request) -> Response:
        """``ticker/price`` of one, some or all symbols."""
        names = await self._asked(request)
        prices = [(name, await self._newest.newest_price(name)) for name in names]
        told = [{"symbol": name, "price": price} for name, price in prices if price is not None]
        return _one_or_all(request, told)

    async def ticker_day(self, request: Request) -> Response:
        """``ticker/24hr`` of one, some or all symbols."""
        kind = request.query_params.get("type", "FULL")
        if kind not in {"FULL", "MINI"}:
            raise illegal("type", "^(FULL|MINI)$")
        names = await self._asked(request)
        days = await self._newest_days()
        told = []
        for name in names:
            if name in days:
                book, _ = await self._newest.newest_book(name)
                told.append(day_ticker(days[name], book, is_mini=kind == "MINI"))
        return _one_or_all(request, told)

    async def ticker_book(self, request: Request) -> Response:
        """``ticker/bookTicker`` of one, some or all symbols."""
        told = []
        for name in await self._asked(request):
            book, _ = await self._newest.newest_book(name)
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
        return _one_or_all(request, told)

    async def _trades(self, request: Request) -> list[TradeMessage]:
        query = request.query_params
        symbol = await self._known(symbol_of(query))
        limit = limit_of(query, 500, MAX_TRADES)
        from_id = number_of(query, "fromId")
        start_ms = _time_of(query.get("startTime"), "startTime")
        end_ms = _time_of(query.get("endTime"), "endTime")
        recent, _ = await self._newest.newest_trades(symbol, MAX_TRADES)
        kept = [
            trade
            for trade in reversed(recent)
            if (from_id is None or trade.id >= from_id)
            and (start_ms is None or trade.timestamp >= start_ms)
            and (end_ms is None or trade.timestamp <= end_ms)
        ]
        from_start = from_id is not None or start_ms is not None
        return kept[:limit] if from_start else kept[-limit:]

    async def _newest_days(self) -> dict[str, Day]:
        async with self._days_lock:
            if time.monotonic() - self._days_at_s >= DAYS_MAX_AGE_S:
                days = await self._queries.newest_days(await self._symbols.names())
                self._days = {day.symbol: day for day in days}
                self._days_at_s = time.monotonic()
            return self._days

    async def _asked(self, request: Request) -> list[str]:
        names = symbols_of(request.query_params)
        if names is None:
            return await self._symbols.names()
        return [await self._known(name) for name in names]

    async def _known(self, name: str) -> str:
        if name not in await self._symbols.names():
            raise invalid_symbol()
        return name


def _one_or_all(request: Request, told: list[dict[str, Any]]) -> Response:
    if "symbol" in request.query_params:
        if not told:
            raise invalid_symbol()
        return json_response(told[0])
    return json_response(told)


def _guarded(ask: Endpoint) -> Endpoint:
    """Return ``ask`` with errors in Binance's form."""

    async def answer(request: Request) -> Response:
        try:
            return await ask(request)
        except BinanceError as error:
            return json_response({"code": error.code, "msg": error.message}, 400)
        except RequestError as error:
            return json_response({"code": -1100, "msg": error.message}, error.status)

    return answer


def _time_of(text: str | None, name: str) -> int | None:
    """Return a time in ms; what is out of range is moved to its end."""
    number = number_of({name: text} if text is not None else {}, name)
    if number is None:
        return None
    moment_ms = number // 1000 if number >= _MICROSECONDS_FROM else number
    return min(max(moment_ms, FIRST_MS), TIME_MAX_MS)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
