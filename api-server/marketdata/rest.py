# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The REST answers: from the board where it knows them, else from the database."""

import asyncio
import time
from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from linkora.decimals import plain
from linkora.errors import RequestError, TransientError
from linkora.market import Candle, OrderBook
from linkora.messages import TradeMessage
from linkora.timeframes import MINUTE_MS, TIMEFRAMES, Timeframe
from marketdata import params
from marketdata.answers import OPEN_CACHE, VARY, Answer, Answers
from marketdata.board import Board
from marketdata.export import MEDIA_TYPES, Exporter
from marketdata.params import CandleRange, GapRange
from marketdata.shortcut import KnownQueries
from marketdata.windows import Recent, Window
from marketdata.wire import book_body, iso

# Ranges that ended this long ago hardly ever change; corrections by the exchange are rare.
CLOSED_RANGE_AGE_MS = 10 * 60_000
CLOSED_RANGE_CACHE = "public, max-age=60, stale-while-revalidate=600"
MIN_PACKED_BYTES = 1024
PACK_IN_THREAD_BYTES = 32 * 1024
HUNDRED = Decimal(100)
_encoder = msgspec.json.Encoder()


class Queries(Protocol):
    """What is read. Every method raises ``TransientError`` while the database is away."""

    async def candles_json(self, wanted: CandleRange) -> bytes:
        """Return the candles as a JSON array of rows."""

    async def candle_rows(
        self, symbol: str, frame: Timeframe, limit: int
    ) -> list[tuple[int, bytes]]:
        """Return the newest ``limit`` candles as ``(open time in ms, row)``, ascending."""

    async def newest_candles(self, symbol: str, frame: Timeframe, limit: int) -> list[Candle]:
        """Return the newest ``limit`` candles, ascending."""

    async def newest_book(self, symbol: str) -> OrderBook | None:
        """Return the newest order book of ``symbol``."""

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


class Trades(Protocol):
    """Where recent trades are kept."""

    async def recent(self, symbol: str, limit: int) -> list[TradeMessage]:
        """Return the newest ``limit`` trades, the newest first."""


class Rest:
    """The endpoints. Each method is a Starlette endpoint.

    Args:
        queries: The database that the collector writes to: what must be of this moment.
        history: The same or a replica of it, which may lag a little: ranges, gaps.
        symbols: What is known of symbols.
        trades: Where recent trades are kept.
        exporter: Streams whole ranges.
        board: The newest state of everything.
        answers: Keeps encoded answers.
        known: Is told which query strings they answer.
    """

    def __init__(
        self,
        queries: Queries,
        history: Queries,
        symbols: Symbols,
        trades: Trades,
        exporter: Exporter,
        board: Board,
        answers: Answers,
        known: KnownQueries,
    ) -> None:
        self._queries = queries
        self._history = history
        self._symbols = symbols
        self._trades = trades
        self._exporter = exporter
        self._board = board
        self._answers = answers
        self._known = known
        self._loading: dict[tuple[str, str], asyncio.Lock] = {}

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
            answer, is_stale = await self._newest(wanted)
            if answer.version:
                self._known.remember(request.scope["query_string"], wanted.symbol, _key(wanted))
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
        book, is_stale = await self.newest_book(symbol)
        if book is None:
            raise RequestError(404, "No orderbook data available for this symbol")
        return await reply(request, Answer(book_body(book, levels)), stale=is_stale)

    async def price(self, request: Request) -> Response:
        """``/price``: the newest close against the close of the bucket before."""
        symbol = params.symbol(request.query_params)
        frame = params.timeframe(request.query_params)
        pair, is_stale = await self.newest_pair(symbol, frame)
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
        trades, is_stale = await self.newest_trades(symbol, limit)
        body = _encoder.encode({"symbol": symbol, "trades": trades})
        return await reply(request, Answer(body), stale=is_stale)

    # What other dialects need, too

    async def newest_trades(self, symbol: str, limit: int) -> tuple[list[TradeMessage], bool]:
        """Return the newest trades, the newest first, and whether they may be stale."""
        try:
            return await self._trades.recent(symbol, limit), False
        except TransientError:
            known = self._board.trades.get(symbol)
            if known is None:
                raise
            return list(known)[: -limit - 1 : -1], True

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

    async def newest_book(self, symbol: str) -> tuple[OrderBook | None, bool]:
        """Return the newest book, and whether it may be stale."""
        known = self._board.books.get(symbol)
        if known is not None and self._board.is_connected:
            return known, False
        try:
            stored = await self._queries.newest_book(symbol)
        except TransientError:
            if known is None:
                raise
            return known, True
        if known is not None and (stored is None or stored.timestamp_ms < known.timestamp_ms):
            return known, False
        return stored, False

    async def newest_price(self, symbol: str) -> str | None:
        """Return the newest close, ``None`` if there is none."""
        pair, _ = await self.newest_pair(symbol, TIMEFRAMES["1"])
        return plain(pair[-1].close) if pair else None

    async def newest_pair(self, symbol: str, frame: Timeframe) -> tuple[list[Candle], bool]:
        """Return the bucket before the newest, the newest; and whether they may be stale."""
        known = self._board.newest_pair(symbol, frame, _now_ms())
        if symbol in self._board.live and len(known) == 2:
            return known, False
        try:
            return await self._queries.newest_candles(symbol, frame, 2), False
        except TransientError:
            if not known:
                raise
            return known, True

    async def _newest(self, wanted: CandleRange) -> tuple[Answer, bool]:
        """Return the newest candles, and whether they may be stale."""
        if wanted.symbol in self._board.live:
            answer = self._answers.get(_key(wanted), self._board.version(wanted.symbol))
            if answer is not None:
                return answer, False
            recent = await self._loaded(wanted)
            if recent is not None:
                return self._joined(wanted, recent), False
        try:
            return Answer(await self._queries.candles_json(wanted)), False
        except TransientError:
            recent = self._board.recent(wanted.symbol, wanted.frame, _now_ms())
            if recent is None:
                raise
            return self._joined(wanted, recent), True

    async def _loaded(self, wanted: CandleRange) -> Recent | None:
        """Return the recent candles, read from the database first where they are too few."""
        assert wanted.limit is not None  # noqa: S101 - for the type; parameters always give one
        board, symbol, frame = self._board, wanted.symbol, wanted.frame
        recent = board.recent(symbol, frame, _now_ms())
        if recent is not None and recent.covers(wanted.limit):
            return recent
        async with self._loading.setdefault((symbol, frame.name), asyncio.Lock()):
            recent = board.recent(symbol, frame, _now_ms())
            if recent is not None and recent.covers(wanted.limit):
                return recent
            rows = await self._queries.candle_rows(symbol, frame, wanted.limit + 1)
            window = Window(rows, is_whole=len(rows) <= wanted.limit)
            if not board.load(symbol, frame, window, _now_ms()):
                return None
            return board.recent(symbol, frame, _now_ms())

    def _joined(self, wanted: CandleRange, recent: Recent) -> Answer:
        assert wanted.limit is not None  # noqa: S101 - as above
        answer = self._answers.get(_key(wanted), recent.version)
        if answer is None:
            answer = Answer(recent.body(wanted.limit, wanted.order), recent.version)
            self._answers.put(_key(wanted), answer)
        return answer


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _key(wanted: CandleRange) -> Hashable:
    return (wanted.symbol, wanted.frame.name, wanted.limit, wanted.order)


async def reply(
    request: Request, answer: Answer, *, cache: str = OPEN_CACHE, stale: bool = False
) -> Response:
    """Return ``answer`` as the client wants it: 304 if it has it already, compressed if it can."""
    headers = {"etag": answer.etag, "cache-control": cache, "vary": VARY}
    if stale:
        headers["warning"] = '110 - "Response is Stale"'
    if answer.etag in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    body = answer.body
    if len(body) >= MIN_PACKED_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        if answer.packed is None and len(body) >= PACK_IN_THREAD_BYTES:
            body = await asyncio.to_thread(answer.pack)
        else:
            body = answer.pack()
    return Response(body, 200, headers, media_type="application/json")


def gap_body(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return one entry of the ledger: minutes from ``start`` until before ``end``."""
    return {
        "symbol": record["symbol"],
        "start": iso(record["from_ms"]),
        "end": iso(record["to_ms"]),
        "start_timestamp": record["from_ms"],
        "end_timestamp": record["to_ms"],
        "minutes": (record["to_ms"] - record["from_ms"]) // MINUTE_MS,
        "state": record["state"],
        "reason": record["reason"],
        "attempts": record["attempts"],
        "updated_at": iso(record["updated_ms"]),
    }


def price_body(pair: list[Candle], frame: Timeframe) -> dict[str, Any]:
    """Return the body of ``/price``.

    Args:
        pair: The newest candle, last, and the one before it if there is one.
        frame: Their timeframe.
    """
    current = pair[-1]
    previous_price = pair[0].close
    change = current.close - previous_price
    percent = change / previous_price * HUNDRED if previous_price else Decimal(0)
    return {
        "symbol": current.symbol,
        "timeframe": frame.name,
        "current_price": plain(current.close),
        "previous_price": plain(previous_price),
        "change_absolute": plain(change),
        "change_percent": format(percent.quantize(Decimal("0.01")) + 0, "f"),
        "trend": "up" if change > 0 else "down" if change < 0 else "neutral",
        "timestamp": current.open_time_ms,
        "open_time": iso(current.open_time_ms),
        "volume": plain(current.volume),
    }
