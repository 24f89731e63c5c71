# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The newest of everything: from the board where it knows, else from the database or Redis.

Most methods say, too, whether their answer may be stale: so it is while a neighbour is away.
"""

import asyncio
import time
from collections.abc import Hashable
from typing import Protocol

from linkora.decimals import plain
from linkora.errors import TransientError
from linkora.market import Candle, OrderBook
from linkora.messages import TradeMessage
from linkora.timeframes import TIMEFRAMES, Timeframe
from marketdata.answers import Answer, Answers
from marketdata.board import Board
from marketdata.params import CandleRange
from marketdata.windows import Recent, Window


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


class Trades(Protocol):
    """Where recent trades are kept."""

    async def recent(self, symbol: str, limit: int) -> list[TradeMessage]:
        """Return the newest ``limit`` trades, the newest first."""


class Newest:
    """Answers what is asked most.

    Args:
        queries: The database that the collector writes to.
        trades: Where recent trades are kept.
        board: The newest state of everything.
        answers: Keeps encoded answers.
    """

    def __init__(self, queries: Queries, trades: Trades, board: Board, answers: Answers) -> None:
        self._queries = queries
        self._trades = trades
        self._board = board
        self._answers = answers
        self._loading: dict[tuple[str, str], asyncio.Lock] = {}

    async def newest_trades(self, symbol: str, limit: int) -> tuple[list[TradeMessage], bool]:
        """Return the newest trades, the newest first, and whether they may be stale."""
        try:
            return await self._trades.recent(symbol, limit), False
        except TransientError:
            known = self._board.trades.get(symbol)
            if known is None:
                raise
            return list(known)[: -limit - 1 : -1], True

    async def newest_book(self, symbol: str) -> tuple[OrderBook | None, bool]:
        """Return the newest book, and whether it may be stale."""
        known = self._board.books.get(symbol)
        if known is not None and self._board.are_books_live:
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

    async def newest_price(self, symbol: str) -> tuple[str | None, bool]:
        """Return the newest close, ``None`` if there is none, and whether it may be stale."""
        pair, is_stale = await self.newest_pair(symbol, TIMEFRAMES["1"])
        return plain(pair[-1].close) if pair else None, is_stale

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

    async def candles(self, wanted: CandleRange) -> tuple[Answer, bool]:
        """Return the newest candles, and whether they may be stale."""
        if wanted.symbol in self._board.live:
            answer = self._answers.get(answer_key(wanted), self._board.version(wanted.symbol))
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
        answer = self._answers.get(answer_key(wanted), recent.version)
        if answer is None:
            answer = Answer(recent.body(wanted.limit, wanted.order), recent.version)
            self._answers.put(answer_key(wanted), answer)
        return answer


def answer_key(wanted: CandleRange) -> Hashable:
    """Return the key of ``Answers`` for these candles."""
    return (wanted.symbol, wanted.frame.name, wanted.limit, wanted.order)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
