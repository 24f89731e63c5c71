# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The hub's topics of market data. Pure."""

from typing import NamedTuple

ALL = "all"


class CandleTopic(NamedTuple):
    """The candles of one timeframe, of one symbol or of ``all``."""

    symbol: str
    timeframe: str
    kind: str = "candles"


class BookTopic(NamedTuple):
    """The order books of one symbol or of ``all``, with so many levels."""

    symbol: str
    levels: int
    kind: str = "orderbook"


class TradeTopic(NamedTuple):
    """The trades of one symbol or of ``all``."""

    symbol: str
    kind: str = "trades"
