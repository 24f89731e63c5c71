# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which closed candles followers have not been told of, once it is known which minutes changed."""

import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from linkora.market import Candle
from linkora.timeframes import TIMEFRAMES, Timeframe
from marketdata.aggregation import combine
from marketdata.board import Board

# So many closed candles of a timeframe are told after a hole, the newest; more is for /candles.
MAX_MISSED = 1000
_FRAME_OF_TABLE = {frame.table: frame for frame in TIMEFRAMES.values()}
Final = tuple[Timeframe, Candle]


class Store(Protocol):
    """What is read. Every method raises ``TransientError`` while the database is away."""

    async def candles_at(
        self, symbol: str, frame: Timeframe, opens_ms: Sequence[int]
    ) -> list[Candle]:
        """Return the candles that open at the given times, as far as they exist, ascending."""


class Missed:
    """Reads them.

    Args:
        store: Where they are.
        board: What has been told so far.
    """

    def __init__(self, store: Store, board: Board) -> None:
        self._store = store
        self._board = board

    async def finals(
        self, symbol: str, frame: Timeframe, minutes: Iterable[int], corrected: Iterable[int]
    ) -> list[Final]:
        """Return the closed candles that followers may not have been told of.

        Args:
            symbol: Whose.
            frame: Which.
            minutes: That changed unheard; what the board knew of them has been told.
            corrected: That were heard of and were too old for the board.

        Raises:
            TransientError: If the database is away.
        """
        untold = {frame.open_ms(minute) for minute in corrected}
        opens = sorted(untold | {frame.open_ms(minute) for minute in minutes})[-MAX_MISSED:]
        old = self._board.ladders.get(symbol)
        return [
            (frame, candle)
            for candle in await self._candles_at(symbol, frame, opens)
            if candle.is_closed
            and (
                old is None
                or candle.open_time_ms in untold
                or candle != old.candle(frame, candle.open_time_ms, _now_ms())
            )
        ]

    async def _candles_at(
        self, symbol: str, frame: Timeframe, opens_ms: Sequence[int]
    ) -> list[Candle]:
        if frame.name in TIMEFRAMES:
            return await self._store.candles_at(symbol, frame, opens_ms)
        nested = _FRAME_OF_TABLE[frame.table]
        parts = await self._store.candles_at(
            symbol,
            nested,
            [part for t in opens_ms for part in range(t, t + frame.width_ms, nested.width_ms)],
        )
        return list(_widened(parts, frame))


def _widened(parts: Iterable[Candle], frame: Timeframe) -> Iterable[Candle]:
    """Yield the candles of ``frame`` that ``parts``, in order of time, make up."""
    of_bucket: dict[int, list[Candle]] = {}
    for part in parts:
        of_bucket.setdefault(frame.open_ms(part.open_time_ms), []).append(part)
    for open_ms, inside in of_bucket.items():
        close_ms = frame.close_ms(open_ms)
        is_over = inside[-1].close_time_ms == close_ms or _now_ms() > close_ms
        yield combine(inside, frame, is_over=is_over)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
