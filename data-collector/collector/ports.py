# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the loops ask of stores, exchange and news: the walls between them, as protocols."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from collector.binance.forms import Depth, KlineRow
from collector.gaps import MinuteRange
from linkora.errors import TransientError
from linkora.market import Candle, OrderBook, Trade


class SenselessError(TransientError):
    """The exchange answered with something that cannot be true; it may do better next time."""


class StoredPages(msgspec.Struct, frozen=True):
    """What a write of history changed: rows that are new or different, and corrections."""

    changed: int
    revised: int


class Day(msgspec.Struct, frozen=True):
    """What one UTC day adds up to; equal sums of trades and volume mean equal minutes."""

    open_ms: int
    trades: int
    volume: Decimal


class Gap(msgspec.Struct, frozen=True):
    """One open entry of the ledger: minutes that we lack and how often the exchange lacked them."""

    symbol: str
    span: MinuteRange
    attempts: int


class CandleStore(Protocol):
    """The candles in the database. Every method raises ``TransientError`` while it is away."""

    async def store_states(
        self, candles: Sequence[Candle], *, authoritative: bool = False
    ) -> list[Candle]:
        """Write states of minutes; return those that changed something, as stored."""

    async def store_pages(
        self, symbol: str, pages: Sequence[bytes], *, final_before_ms: int
    ) -> StoredPages:
        """Write klines answers as they came, with their rollups, in one transaction."""

    async def missing_ranges(self, symbol: str, from_ms: int, to_ms: int) -> list[MinuteRange]:
        """Return the minutes that are neither stored as closed nor in the ledger."""

    async def note_gaps(
        self, symbol: str, gaps: Sequence[MinuteRange], *, retry_after_s: float, reason: str | None
    ) -> None:
        """Enter gaps in the ledger: open, or explained if a reason is given."""

    async def due_gaps(self, symbols: Sequence[str], limit: int) -> list[Gap]:
        """Return open gaps of these symbols whose time of retry has come."""

    async def open_gaps(self, symbols: Sequence[str]) -> int:
        """Return how many open gaps these symbols have."""

    async def days(self, symbol: str, from_ms: int, to_ms: int) -> list[Day]:
        """Return what is stored of each day that opens from ``from_ms`` to before ``to_ms``."""


class News(Protocol):
    """Where committed changes are told."""

    async def candles(self, candles: Iterable[Candle]) -> None: ...  # noqa: D102
    async def books(self, books: Iterable[OrderBook]) -> None: ...  # noqa: D102
    async def trades(self, trades: Mapping[str, Sequence[Trade]]) -> None: ...  # noqa: D102
    def history_changed(self, symbol: str) -> None: ...  # noqa: D102


class BookStore(Protocol):
    """The order books in the database."""

    async def store(self, books: Sequence[OrderBook]) -> None: ...  # noqa: D102
    async def forget(self, before_ms: int) -> int: ...  # noqa: D102


class Archive(Protocol):
    """Files of whole months and days; raises ``TransientError`` while it is away."""

    async def month(self, symbol: str, day_ms: int) -> dict[int, bytes]: ...  # noqa: D102
    async def day(self, symbol: str, day_ms: int) -> dict[int, bytes]: ...  # noqa: D102


class Exchange(Protocol):
    """The exchange's REST API."""

    async def klines(  # noqa: D102
        self,
        symbol: str,
        *,
        start_ms: int,
        end_ms: int | None = None,
        limit: int = 1000,
        interval: str = "1m",
        is_background: bool = False,
    ) -> tuple[bytes, list[KlineRow]]: ...

    async def depth(self, symbol: str, limit: int) -> Depth: ...  # noqa: D102
