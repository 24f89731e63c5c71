# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Parameters of Binance's REST, checked; errors with Binance's codes and texts. Pure.

Source of the rules: Binance's public documentation of the spot REST API.
"""

from collections.abc import Mapping

import msgspec

from linkora.timeframes import Timeframe
from marketdata.binance_intervals import INTERVALS

MAX_KLINES = 1000
MAX_DEPTH = 5000
MAX_TRADES = 1000


class BinanceError(Exception):
    """A refused request: ``{"code": ..., "msg": ...}`` with status 400."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid_symbol() -> BinanceError:
    """Return the error of a symbol that is not known."""
    return BinanceError(-1121, "Invalid symbol.")


def missing(name: str) -> BinanceError:
    """Return the error of an absent parameter."""
    return BinanceError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def symbol_of(query: Mapping[str, str]) -> str:
    """Return ``symbol``; Binance's are capitals only, we take any."""
    name = query.get("symbol", "").strip().upper()
    if not name:
        raise missing("symbol")
    return name


def symbols_of(query: Mapping[str, str]) -> list[str] | None:
    """Return what ``symbol`` or ``symbols`` (a JSON array) name, ``None`` for all."""
    if "symbols" in query:
        if "symbol" in query:
            raise BinanceError(-1128, "Combination of optional parameters invalid.")
        try:
            names = msgspec.json.decode(query["symbols"], type=list[str])
        except (msgspec.MsgspecError, UnicodeError):
            raise illegal(
                "symbols", r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\]$'
            ) from None
        return [name.upper() for name in names]
    return [symbol_of(query)] if "symbol" in query else None


def illegal(name: str, legal: str) -> BinanceError:
    """Return the error of a malformed parameter."""
    return BinanceError(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    )


def interval_of(query: Mapping[str, str]) -> Timeframe:
    """Return the timeframe of ``interval``."""
    name = query.get("interval", "")
    if not name:
        raise missing("interval")
    if name not in INTERVALS:
        raise BinanceError(-1120, "Invalid interval.")
    return INTERVALS[name]


def number_of(query: Mapping[str, str], name: str) -> int | None:
    """Return an unsigned integer, ``None`` if absent."""
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise illegal(name, "^[0-9]{1,20}$")
    return int(text)


def limit_of(query: Mapping[str, str], default: int, most: int) -> int:
    """Return ``limit``; what is more than ``most`` is cut down to it."""
    limit = number_of(query, "limit")
    if limit == 0:
        raise BinanceError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(default if limit is None else limit, most)
