# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The known symbols, read at most once a second and remembered while the database is away."""

import time
from typing import Protocol

from linkora.errors import RequestError, TransientError
from marketdata.assets import Precision
from marketdata.board import Board

MAX_AGE_S = 1.0
PRECISION_MAX_AGE_S = 60.0


class Queries(Protocol):
    """What is read. Every method raises ``TransientError`` while the database is away."""

    async def symbols(self) -> list[str]:
        """Return the known symbols in alphabetical order."""

    async def precision(self, symbol: str) -> Precision:
        """Return how many decimals its newest prices and amounts have."""


class Symbols:
    """The names, and how finely each is quoted."""

    def __init__(self, queries: Queries, board: Board) -> None:
        self._queries = queries
        self._board = board
        self._read_s = -MAX_AGE_S
        self._precisions: dict[str, tuple[float, Precision]] = {}
        self.are_stale = False

    async def names(self) -> list[str]:
        """Return the known symbols in alphabetical order.

        Raises:
            TransientError: If the database is away and none is remembered.
        """
        now_s = time.monotonic()
        if now_s - self._read_s < MAX_AGE_S:
            return self._board.symbols
        try:
            self._board.symbols = await self._queries.symbols()
        except TransientError:
            if not self._board.symbols:
                raise
            self.are_stale = True
        else:
            self.are_stale = False
            self._read_s = now_s
        return self._board.symbols

    async def require(self, symbol: str) -> None:
        """Raise the 404 of an unknown symbol."""
        if symbol not in self._board.symbols and symbol not in await self.names():
            raise RequestError(404, "No data available for this symbol")

    async def precision(self, symbol: str) -> Precision:
        """Return how many decimals its newest prices and amounts have."""
        now_s = time.monotonic()
        known = self._precisions.get(symbol)
        if known is not None and now_s - known[0] < PRECISION_MAX_AGE_S:
            return known[1]
        precision = await self._queries.precision(symbol)
        self._precisions[symbol] = (now_s, precision)
        return precision
