# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Parameters of Binance's REST, checked; errors with Binance's codes and texts. Pure.

Source of the rules: Binance's public documentation of the spot REST API.
"""

import re
from collections.abc import Mapping

import msgspec

from linkora.timeframes import HOUR_MS, MINUTE_MS
from marketdata.binance_intervals import INTERVALS, SECOND
from marketdata.params import FIRST_MS, LAST_MS

MAX_KLINES = 1000
MAX_DEPTH = 5000
MAX_TRADES = 1000
# Binance's own pattern has an intersection of classes, which Python does not know.
_SYMBOL = re.compile(r"[\w\-.&]{1,50}")
_SYMBOL_TEXT = r"^[\w\-._&&[^a-z]]{1,50}$"
_SYMBOLS_TEXT = r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\]$'
# Microseconds are taken, too: any time beyond the year 5138 in ms.
_MICROSECONDS_FROM = 10**14
_ZONE = re.compile(r"([+-]?)(\d{1,2})(?::(\d{2}))?", re.ASCII)
_ZONE_TEXT = r"^[+-]?\d{1,2}(:\d{2})?$"
FIRST_ZONE_MS, LAST_ZONE_MS = -12 * HOUR_MS, 14 * HOUR_MS


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


def illegal(name: str, legal: str) -> BinanceError:
    """Return the error of a malformed parameter."""
    return BinanceError(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    )


def not_valid(name: str) -> BinanceError:
    """Return the error of a well-formed parameter that cannot be."""
    return BinanceError(-1130, f"Data sent for parameter '{name}' is not valid.")


def combination() -> BinanceError:
    """Return the error of parameters that exclude each other."""
    return BinanceError(-1128, "Combination of optional parameters invalid.")


def check_single(names: list[str]) -> None:
    """Refuse a parameter that is sent twice.

    Args:
        names: The name of each value that was sent.
    """
    if len(set(names)) < len(names):
        raise BinanceError(-1101, "Duplicate values for a parameter detected.")


def symbol_of(query: Mapping[str, str]) -> str:
    """Return ``symbol``; Binance's are capitals only, we take any."""
    name = query.get("symbol")
    if name is None:
        raise missing("symbol")
    if not name:
        raise BinanceError(-1105, "Parameter 'symbol' was empty.")
    return _well_formed(name, "symbol", _SYMBOL_TEXT)


def symbols_of(query: Mapping[str, str]) -> list[str] | None:
    """Return what ``symbol`` or ``symbols`` (a JSON array) name, ``None`` for all."""
    if "symbols" not in query:
        return [symbol_of(query)] if "symbol" in query else None
    if "symbol" in query:
        raise combination()
    try:
        names = msgspec.json.decode(query["symbols"], type=list[str])
    except (msgspec.MsgspecError, UnicodeError):
        raise illegal("symbols", _SYMBOLS_TEXT) from None
    if not names:
        raise illegal("symbols", _SYMBOLS_TEXT)
    return [_well_formed(name, "symbols", _SYMBOLS_TEXT) for name in names]


def _well_formed(name: str, parameter: str, legal: str) -> str:
    if not _SYMBOL.fullmatch(name):
        raise illegal(parameter, legal)
    return name.upper()


def interval_of(query: Mapping[str, str]) -> str:
    """Return ``interval``: ``1s`` or one of ``INTERVALS``."""
    name = query.get("interval", "")
    if not name:
        raise missing("interval")
    if name != SECOND and name not in INTERVALS:
        raise BinanceError(-1120, "Invalid interval.")
    return name


def zone_of(query: Mapping[str, str]) -> int:
    """Return ``timeZone``: how far local time is ahead of UTC, in ms; 0 if absent.

    Hours, or hours and minutes: ``8``, ``-1:00``, ``05:45``; from -12:00 to +14:00.
    """
    # In a URL's query an unescaped "+" arrives as a space.
    form = _ZONE.fullmatch(query.get("timeZone", "0").strip())
    if form is None:
        raise illegal("timeZone", _ZONE_TEXT)
    sign, hours, minutes = form[1], int(form[2]), int(form[3] or 0)
    shift_ms = (hours * HOUR_MS + minutes * MINUTE_MS) * (-1 if sign == "-" else 1)
    if minutes > 59 or not FIRST_ZONE_MS <= shift_ms <= LAST_ZONE_MS:
        raise not_valid("timeZone")
    return shift_ms


def number_of(query: Mapping[str, str], name: str) -> int | None:
    """Return an unsigned integer, ``None`` if absent."""
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise illegal(name, "^[0-9]{1,20}$")
    return int(text)


def time_of(query: Mapping[str, str], name: str) -> int | None:
    """Return a time in Unix ms, ``None`` if absent; what is out of range is moved to its end."""
    number = number_of(query, name)
    if number is None:
        return None
    moment_ms = number // 1000 if number >= _MICROSECONDS_FROM else number
    return min(max(moment_ms, FIRST_MS), LAST_MS - 1)


def limit_of(query: Mapping[str, str], default: int, most: int) -> int:
    """Return ``limit``; what is more than ``most`` is cut down to it."""
    limit = number_of(query, "limit")
    if limit == 0:
        raise not_valid("limit")
    return min(default if limit is None else limit, most)
