# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""TradingView's Universal Data Feed under ``/udf``: one line connects the charting library.

Source of the rules: TradingView's documentation of the charting library, "UDF adapter". Numbers
are JSON numbers there, times Unix seconds.
"""

import time
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from linkora.errors import RequestError
from linkora.http import json_response
from linkora.market import Candle
from linkora.timeframes import TIMEFRAMES, Timeframe
from marketdata import params
from marketdata.assets import Precision, split_symbol
from marketdata.params import CandleRange, Query

EXCHANGE = "Binance"
MAX_BARS = 5_000
MAX_FOUND = 100
MAX_DIGITS = 9
# The library's names of resolutions; minutes are plain numbers.
RESOLUTIONS = {
    **{name: TIMEFRAMES[name] for name in ("1", "3", "5", "15", "30", "45")},
    "60": TIMEFRAMES["1H"],
    "120": TIMEFRAMES["2H"],
    "180": TIMEFRAMES["3H"],
    "240": TIMEFRAMES["4H"],
    "1D": TIMEFRAMES["1D"],
    "1W": TIMEFRAMES["1W"],
    "1M": TIMEFRAMES["1M"],
}
_ALIASES = {"D": "1D", "W": "1W", "M": "1M", "1H": "60", "2H": "120", "3H": "180", "4H": "240"}


class Queries(Protocol):
    """What is read. Every method raises ``TransientError`` while the database is away."""

    async def candles_between(self, wanted: CandleRange) -> list[Candle]:
        """Return the candles of a range, ascending."""


class Symbols(Protocol):
    """What is known of symbols."""

    async def names(self) -> list[str]:
        """Return the known symbols in alphabetical order."""

    async def precision(self, symbol: str) -> Precision:
        """Return how many decimals its prices and amounts have."""


class Udf:
    """The endpoints."""

    def __init__(self, queries: Queries, symbols: Symbols) -> None:
        self._queries = queries
        self._symbols = symbols

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/udf/config", self.config),
            Route("/udf/time", self.time),
            Route("/udf/symbols", self.symbol),
            Route("/udf/search", self.search),
            Route("/udf/history", self.history),
        ]

    async def config(self, _: Request) -> Response:
        """``/udf/config``: what the library may ask for."""
        return json_response(
            {
                "supports_search": True,
                "supports_group_request": False,
                "supports_marks": False,
                "supports_timescale_marks": False,
                "supports_time": True,
                "supported_resolutions": list(RESOLUTIONS),
                "exchanges": [{"value": EXCHANGE, "name": EXCHANGE, "desc": "Binance spot"}],
                "symbols_types": [{"name": "Crypto", "value": "crypto"}],
            }
        )

    async def time(self, _: Request) -> Response:
        """``/udf/time``: the server's time in Unix seconds."""
        return PlainTextResponse(str(int(time.time())))

    async def symbol(self, request: Request) -> Response:
        """``/udf/symbols``: what one symbol is."""
        try:
            name = await self._name(request.query_params)
        except RequestError as error:
            return _problem(error, "unknown_symbol")
        return json_response(symbol_info(name, await self._symbols.precision(name)))

    async def search(self, request: Request) -> Response:
        """``/udf/search``: the symbols that contain a text."""
        query = request.query_params
        text = query.get("query", "").upper().rpartition(":")[2].strip().replace("/", "")
        try:
            limit = _at_most(query, "limit", 30, MAX_FOUND)
        except RequestError as error:
            return _problem(error, error.message)
        is_ours = query.get("exchange", "") in {"", EXCHANGE}
        is_ours &= query.get("type", "") in {"", "crypto"}
        found = [name for name in await self._symbols.names() if is_ours and text in name]
        found.sort(key=lambda name: (not name.startswith(text), name))
        return json_response([_found(name) for name in found[:limit]])

    async def history(self, request: Request) -> Response:
        """``/udf/history``: bars from ``from`` (inclusive) to ``to`` (not), as columns.

        At most ``MAX_BARS``, the newest: the library asks again for what is older.
        """
        query = request.query_params
        try:
            name = await self._name(query)
            frame = _frame(query)
            from_ms, to_ms = _seconds(query, "from", 0), _seconds(query, "to", int(time.time()) + 1)
            count = _at_most(query, "countback", MAX_BARS, MAX_BARS)
        except RequestError as error:
            return _problem(error, error.message)
        # ``countback`` outranks ``from``: the library wants so many bars before ``to``.
        wanted = CandleRange(
            symbol=name,
            frame=frame,
            start_ms=None if "countback" in query else min(from_ms, max(to_ms - 1, 0)),
            end_ms=max(to_ms - 1, 0),
            limit=count,
            order="desc",
        )
        candles = await self._queries.candles_between(wanted)
        if candles:
            return json_response({"s": "ok", **bars(candles)})
        older = msgspec.structs.replace(wanted, start_ms=None, limit=1)
        before = await self._queries.candles_between(older)
        next_time = {"nextTime": before[-1].open_time_ms // 1000} if before else {}
        return json_response({"s": "no_data", **next_time})

    async def _name(self, query: Query) -> str:
        name = params.symbol({"symbol": query.get("symbol", "").rpartition(":")[2]})
        if name not in await self._symbols.names():
            raise RequestError(404, "unknown_symbol")
        return name


def bars(candles: list[Candle]) -> dict[str, list[Any]]:
    """Return candles as the columns of ``/udf/history``."""
    return {
        "t": [candle.open_time_ms // 1000 for candle in candles],
        "o": [_number(candle.open) for candle in candles],
        "h": [_number(candle.high) for candle in candles],
        "l": [_number(candle.low) for candle in candles],
        "c": [_number(candle.close) for candle in candles],
        "v": [_number(candle.volume) for candle in candles],
    }


def _number(value: Any) -> msgspec.Raw:
    """Return a number with all its digits: the JSON text of a float might lose some."""
    return msgspec.Raw(format(value, "f").encode())


def symbol_info(name: str, precision: Precision) -> dict[str, Any]:
    """Return the library's ``LibrarySymbolInfo``."""
    base, quote = split_symbol(name)
    return {
        "name": name,
        "ticker": name,
        "full_name": f"{EXCHANGE}:{name}",
        "description": f"{base} / {quote}",
        "type": "crypto",
        "session": "24x7",
        "timezone": "Etc/UTC",
        "exchange": EXCHANGE,
        "listed_exchange": EXCHANGE,
        "minmov": 1,
        "minmov2": 0,
        "pricescale": 10**precision.price,
        "volume_precision": precision.quantity,
        "currency_code": quote,
        "has_intraday": True,
        "has_daily": True,
        "has_weekly_and_monthly": True,
        "intraday_multipliers": [name for name in RESOLUTIONS if name.isdigit()],
        "supported_resolutions": list(RESOLUTIONS),
        "data_status": "streaming",
        "format": "price",
    }


def _found(name: str) -> dict[str, str]:
    base, quote = split_symbol(name)
    return {
        "symbol": name,
        "ticker": name,
        "full_name": f"{EXCHANGE}:{name}",
        "description": f"{base} / {quote}",
        "exchange": EXCHANGE,
        "type": "crypto",
    }


def _frame(query: Query) -> Timeframe:
    name = query.get("resolution", "")
    frame = RESOLUTIONS.get(_ALIASES.get(name, name))
    if frame is None:
        raise RequestError(400, f"Invalid resolution. Supported: {list(RESOLUTIONS)}")
    return frame


def _at_most(query: Query, name: str, default: int, most: int) -> int:
    """Return a number from 1 on; the library may want more at once than there is at once."""
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) >= 1):
        raise RequestError(400, f"{name} must be an integer from 1 on")
    return min(int(text), most)


def _seconds(query: Query, name: str, default_s: int) -> int:
    text = query.get(name, str(default_s)).removeprefix("-")
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise RequestError(400, f"{name} must be Unix seconds")
    seconds = 0 if query.get(name, "").startswith("-") else int(text)
    return min(seconds * 1000, params.LAST_MS)


def _problem(error: RequestError, text: str) -> Response:
    """Return an error as the library reads it; 404 and 400 as everywhere else here."""
    return json_response({"s": "error", "errmsg": text}, error.status)
