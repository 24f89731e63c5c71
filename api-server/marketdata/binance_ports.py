# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What Binance's REST needs of the others."""

from typing import Protocol

from linkora.market import OrderBook
from linkora.messages import TradeMessage
from marketdata.assets import Precision
from marketdata.binance_tickers import Day
from marketdata.params import CandleRange


class Queries(Protocol):
    """What is read. Every method raises ``TransientError`` while the database is away."""

    async def klines_json(self, wanted: CandleRange) -> bytes:
        """Return the candles as Binance's rows, a JSON array, ascending."""


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
    async def newest_price(self, symbol: str) -> tuple[str | None, bool]: ...  # noqa: D102


class Days(Protocol):
    """What the newest days add up to."""

    async def newest(self) -> dict[str, Day]:
        """Return each symbol's newest 24 hours."""
