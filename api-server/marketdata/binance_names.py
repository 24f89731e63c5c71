# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The names of Binance's streams, taken apart. Pure."""

from typing import NamedTuple

from marketdata.binance_intervals import SECOND, STREAMED
from marketdata.params import LEVELS, MAX_SYMBOL_LENGTH

# Binance tells open klines this often; those of one second, and tickers, every second.
KLINE_INTERVAL_MS = 2_000
SECOND_INTERVAL_MS = 1_000
BOOK_PACES = ("", "@100ms", "@1000ms")
ALL_PACES = ("", "@1000ms", "@3000ms")
TICKERS = ("ticker", "miniTicker")
_OTHERS = {"bookTicker", "aggTrade", "trade", *TICKERS}
_BOOKS = {f"depth{levels}{pace}" for levels in ("", *LEVELS) for pace in BOOK_PACES}
_ALL = {f"!{kind}@arr{pace}" for kind in TICKERS for pace in ALL_PACES}


class StreamTopic(NamedTuple):
    """The followers of one stream, in one of its two forms.

    Attributes:
        is_combined: Whether payloads are wrapped with the stream's name.
    """

    name: str
    is_combined: bool


def kline_name(symbol: str, interval: str) -> str:
    """Return the name of the stream of klines."""
    return f"{symbol.lower()}@kline_{interval}"


def interval_ms(name: str) -> int | None:
    """Return how far apart open states of that stream are, ``None`` if we have no such stream."""
    if name in _ALL:
        return 0
    symbol, _, kind = name.partition("@")
    is_symbol = 0 < len(symbol) <= MAX_SYMBOL_LENGTH and not symbol.startswith("!")
    if not is_symbol or symbol != symbol.lower():
        return None
    if kind.startswith("kline_"):
        interval = kind.removeprefix("kline_")
        if interval == SECOND:
            return SECOND_INTERVAL_MS
        return KLINE_INTERVAL_MS if interval in STREAMED else None
    return 0 if kind in _BOOKS | _OTHERS else None
