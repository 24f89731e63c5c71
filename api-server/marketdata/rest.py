# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The REST endpoints: what each path answers."""

import time
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from linkora.errors import RequestError
from marketdata import params
from marketdata.answers import OPEN_CACHE, VARY, Answer
from marketdata.encoders import MEDIA_TYPES
from marketdata.export import Exporter
from marketdata.newest import Newest, answer_key
from marketdata.params import CandleRange, GapRange
from marketdata.replies import reply
from marketdata.shortcut import KnownQueries
from marketdata.wire import book_body, gap_body, price_body

# Ranges that ended this long ago hardly ever change; corrections by the exchange are rare.
CLOSED_RANGE_AGE_MS = 10 * 60_000
CLOSED_RANGE_CACHE = "public, max-age=60, stale-while-revalidate=600"
_encoder = msgspec.json.Encoder()


class History(Protocol):
    """What is read. Every method raises ``TransientError`` while the database is away."""

    async def candles_json(self, wanted: CandleRange) -> bytes:
        """Return the candles as a JSON array of rows."""

    async def gaps(self, wanted: GapRange) -> list[Any]:
        """Return the ledger's entries, the oldest first, as mappings with times in Unix ms."""


class Symbols(Protocol):
    """What is known of symbols."""

    @property
    def are_stale(self) -> bool:
        """True while the names are remembered ones."""

    async def names(self) -> list[str]:
        """Return the known symbols in alphabetical order."""

    async def require(self, symbol: str) -> None:
        """Raise the 404 of an unknown symbol."""


class Rest:
    """The endpoints. Each method is a Starlette endpoint.

    Args:
        newest: What must be of this moment.
        history: The database or a replica of it, which may lag a little: ranges, gaps.
        symbols: What is known of symbols.
        exporter: Streams whole ranges.
        known: Is told which query strings they answer.
    """

    def __init__(
        self,
        newest: Newest,
        history: History,
        symbols: Symbols,
        exporter: Exporter,
        known: KnownQueries,
    ) -> None:
        self._newest = newest
        self._history = history
        self._symbols = symbols
        self._exporter = exporter
        self._known = known

    async def symbols(self, request: Request) -> Response:
        """``/symbols``: what is collected."""
        body = _encoder.encode({"symbols": await self._symbols.names()})
        return await reply(request, Answer(body), stale=self._symbols.are_stale)

    async def candles(self, request: Request) -> Response:
        """``/candles``: rows of one symbol and timeframe."""
        kind = params.export_format(request.query_params, request.headers.get("accept", ""))
        wanted = params.candle_range(request.query_params, is_unlimited=kind != "json")
        await self._symbols.require(wanted.symbol)
        if kind != "json":
            return await self._export(request, wanted, kind)
        if wanted.start_ms is None and wanted.end_ms is None:
            answer, is_stale = await self._newest.candles(wanted)
            if answer.version:
                asked = request.scope["query_string"]
                self._known.remember(asked, wanted.symbol, answer_key(wanted))
            return await reply(request, answer, stale=is_stale)
        answer = Answer(await self._history.candles_json(wanted))
        end_ms = wanted.end_ms if wanted.end_ms is not None else _now_ms()
        is_closed = wanted.frame.close_ms(wanted.frame.open_ms(end_ms)) < (
            _now_ms() - CLOSED_RANGE_AGE_MS
        )
        return await reply(request, answer, cache=CLOSED_RANGE_CACHE if is_closed else OPEN_CACHE)

    async def order_book(self, request: Request) -> Response:
        """``/orderbook``: the newest book of one symbol."""
        symbol = params.symbol(request.query_params)
        levels = params.levels(request.query_params)
        book, is_stale = await self._newest.newest_book(symbol)
        if book is None:
            raise RequestError(404, "No orderbook data available for this symbol")
        return await reply(request, Answer(book_body(book, levels)), stale=is_stale)

    async def price(self, request: Request) -> Response:
        """``/price``: the newest close against the close of the bucket before."""
        symbol = params.symbol(request.query_params)
        frame = params.timeframe(request.query_params)
        pair, is_stale = await self._newest.newest_pair(symbol, frame)
        if not pair:
            raise RequestError(404, "No data available for this symbol")
        body = _encoder.encode(price_body(pair, frame))
        return await reply(request, Answer(body), stale=is_stale)

    async def gaps(self, request: Request) -> Response:
        """``/gaps``: the minutes that are missing, and why."""
        wanted = params.gap_range(request.query_params)
        if wanted.symbol is not None:
            await self._symbols.require(wanted.symbol)
        gaps = [gap_body(record) for record in await self._history.gaps(wanted)]
        return await reply(request, Answer(_encoder.encode({"gaps": gaps})))

    async def trades(self, request: Request) -> Response:
        """``/trades/{symbol}``: the newest trades, the newest first."""
        symbol = params.known_form(request.path_params["symbol"].upper())
        limit = params.limit(request.query_params, params.DEFAULT_TRADES, params.MAX_TRADES)
        await self._symbols.require(symbol)
        trades, is_stale = await self._newest.newest_trades(symbol, limit)
        body = _encoder.encode({"symbol": symbol, "trades": trades})
        return await reply(request, Answer(body), stale=is_stale)

    async def _export(self, request: Request, wanted: CandleRange, kind: str) -> Response:
        """Stream the range; CSV is compressed for who takes that, the others are already."""
        is_packed = kind == "csv" and "gzip" in request.headers.get("accept-encoding", "")
        chunks = await self._exporter.start(wanted, kind, is_packed=is_packed)
        name = f"{wanted.symbol}-{wanted.frame.name}.{kind}"
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(name)}",
            "cache-control": OPEN_CACHE,
            "vary": VARY,
        } | ({"content-encoding": "gzip"} if is_packed else {})
        return StreamingResponse(chunks, 200, headers, media_type=MEDIA_TYPES[kind])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
