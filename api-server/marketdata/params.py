# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Clients' parameters, checked: each function returns a value or raises what to answer. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from linkora.errors import RequestError
from linkora.timeframes import TIMEFRAMES, Timeframe

DEFAULT_LIMIT = 500
MAX_LIMIT = 5000
DEFAULT_TRADES, MAX_TRADES = 50, 1000
LEVELS = (5, 10, 20)
GAP_STATES = ("open", "explained", "repaired")
FORMATS = ("json", "csv", "parquet", "arrow")
_MEDIA = {"csv": "text/csv", "parquet": "parquet", "arrow": "vnd.apache.arrow"}
MAX_SYMBOL_LENGTH = 50
# What PostgreSQL, Python and JavaScript all can say; the first trade of any coin was later.
FIRST_MS = 0
LAST_MS = 4_102_444_800_000  # 2100-01-01
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Order = Literal["asc", "desc"]
Query = Mapping[str, str]


class CandleRange(msgspec.Struct, frozen=True):
    """Which candles are asked for.

    Attributes:
        start_ms: The earliest open time, ``None`` for no bound. Unix ms.
        end_ms: The latest open time, ``None`` for no bound. Unix ms.
        limit: The most candles of the answer, ``None`` for all.
        order: ``asc``: the oldest first, from ``start_ms`` on if that is given, else the newest
            ``limit`` ones. ``desc``: the newest ones, newest first.
    """

    symbol: str
    frame: Timeframe
    start_ms: int | None
    end_ms: int | None
    limit: int | None
    order: Order


class GapRange(msgspec.Struct, frozen=True):
    """Which gaps are asked for: those that touch the range, which is closed. Unix ms.

    Attributes:
        symbol: ``None`` for all.
        state: ``None`` for all.
    """

    symbol: str | None
    start_ms: int
    end_ms: int
    state: str | None
    limit: int


def symbol(query: Query) -> str:
    """Return the symbol in capitals."""
    name = query.get("symbol", "").strip().upper()
    if not name:
        raise RequestError(400, "symbol parameter is required")
    return known_form(name)


def known_form(name: str) -> str:
    """Return ``name`` if it could be a symbol at all."""
    if len(name) > MAX_SYMBOL_LENGTH or "\x00" in name:
        raise RequestError(400, f"symbol must have 1 to {MAX_SYMBOL_LENGTH} characters")
    return name


def timeframe(query: Query, default: str = "1") -> Timeframe:
    """Return the timeframe; its name is exact, because ``1m`` and ``1M`` would be easily mixed."""
    frame = TIMEFRAMES.get(query.get("timeframe", default))
    if frame is None:
        raise RequestError(400, f"Invalid timeframe. Supported: {list(TIMEFRAMES)}")
    return frame


def limit(query: Query, default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT) -> int:
    """Return ``limit``, 1 to ``most``."""
    text = query.get("limit")
    number = default if text is None else _integer(text)
    if number is None or not 1 <= number <= most:
        raise RequestError(400, f"limit must be between 1 and {most}")
    return number


def levels(query: Query) -> int:
    """Return how many levels of a book are wanted."""
    number = _integer(query.get("levels", str(LEVELS[-1])))
    if number is None:
        raise RequestError(400, "levels must be an integer")
    if number not in LEVELS:
        raise RequestError(400, f"Invalid levels. Supported: {list(LEVELS)}")
    return number


def order(query: Query) -> Order:
    """Return the direction of the answer."""
    match query.get("order", "asc").lower():
        case "asc":
            return "asc"
        case "desc":
            return "desc"
        case _:
            raise RequestError(400, "Invalid order. Supported: ['asc', 'desc']")


def time_ms(query: Query, name: str) -> int | None:
    """Return a time: ISO 8601 (UTC where no offset is given) or Unix milliseconds.

    Returns:
        Unix ms, ``None`` if the parameter is absent or empty.
    """
    text = query.get(name, "").strip()
    if not text:
        return None
    moment_ms = _integer(text)
    if moment_ms is None:
        moment_ms = _iso_ms(text)
    if moment_ms is None or not FIRST_MS <= moment_ms < LAST_MS:
        raise RequestError(
            400,
            f"Invalid {name} format",
            hint="Use ISO 8601 such as 2024-01-31T12:00:00.000Z, or Unix milliseconds, "
            "from 1970 to 2099",
        )
    return moment_ms


def candle_range(query: Query, *, is_unlimited: bool = False) -> CandleRange:
    """Return what a request for candles asks for.

    Args:
        query: The request's parameters.
        is_unlimited: Whether the whole range is meant where no ``limit`` is given.
    """
    frame = timeframe(query)
    start_ms, end_ms = _time_range(query)
    return CandleRange(
        symbol=symbol(query),
        frame=frame,
        start_ms=start_ms,
        end_ms=end_ms,
        limit=None if is_unlimited and "limit" not in query else limit(query),
        order=order(query),
    )


def gap_range(query: Query) -> GapRange:
    """Return which gaps a request asks for."""
    state = query.get("state", "").lower() or None
    if state not in (None, *GAP_STATES):
        raise RequestError(400, f"Invalid state. Supported: {list(GAP_STATES)}")
    start_ms, end_ms = _time_range(query)
    return GapRange(
        symbol=symbol(query) if query.get("symbol") else None,
        start_ms=FIRST_MS if start_ms is None else start_ms,
        end_ms=LAST_MS if end_ms is None else end_ms,
        state=state,
        limit=limit(query),
    )


def export_format(query: Query, accept: str) -> str:
    """Return ``json``, ``csv``, ``parquet`` or ``arrow``: by ``format``, else by ``Accept``."""
    name = query.get("format", "").lower()
    if not name:
        return next((kind for kind, media in _MEDIA.items() if media in accept), "json")
    if name not in FORMATS:
        raise RequestError(400, f"Invalid format. Supported: {list(FORMATS)}")
    return name


def _time_range(query: Query) -> tuple[int | None, int | None]:
    start_ms, end_ms = time_ms(query, "start_date"), time_ms(query, "end_date")
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise RequestError(400, "start_date must not be after end_date")
    return start_ms, end_ms


def _integer(text: str) -> int | None:
    """Return a plain decimal integer; ``int`` alone would also take ``1_0`` and other scripts."""
    digits = text.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        return None
    return int(text)


def _iso_ms(text: str) -> int | None:
    # In a URL's query an unescaped "+" arrives as a space.
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
