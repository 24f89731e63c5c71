# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The forms in which Binance spot tells things.

Source of the forms: the exchange's own API documentation (see the facts the readme names). Fields
and events that we do not know are ignored; the exchange adds some every year.
"""

import re
from typing import Annotated

import msgspec

from linkora.decimals import PLAIN_NUMBER
from linkora.timeframes import floor_minute_ms

_BANNED_UNTIL = re.compile(r"banned until ([0-9]{13})")

# Unix ms before the year 2100: microseconds, which the exchange can also tell, are refused.
TimeMs = Annotated[int, msgspec.Meta(ge=0, lt=4_102_444_800_000)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Number = Annotated[str, msgspec.Meta(pattern=rf"\A{PLAIN_NUMBER}\Z")]


class KlineRow(msgspec.Struct, array_like=True, frozen=True):
    """One row of ``GET /api/v3/klines``; prices and volumes as the exchange wrote them."""

    open_time_ms: TimeMs
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    close_time_ms: TimeMs
    quote_volume: Number
    trades: Count
    taker_buy_volume: Number
    taker_buy_quote_volume: Number

    @property
    def minute_ms(self) -> int:
        """The minute it belongs to; opens are off the grid after some outages."""
        return floor_minute_ms(self.open_time_ms)


class Kline(msgspec.Struct, frozen=True):
    """The ``k`` object of a kline event."""

    t: TimeMs
    T: TimeMs
    L: int
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the exchange's name
    v: str
    n: Count
    x: bool
    q: str
    V: str
    Q: str


class KlineEvent(msgspec.Struct, frozen=True):
    """``<symbol>@kline_1m``: the state of a running or just closed candle."""

    E: int
    s: str
    k: Kline


class TradeEvent(msgspec.Struct, frozen=True):
    """``<symbol>@trade``: one trade; ``m`` says that the buyer was the maker."""

    E: int
    s: str
    t: int
    p: str
    q: str
    T: TimeMs
    m: bool


class DiffEvent(msgspec.Struct, frozen=True):
    """``<symbol>@depth``: the levels that changed in updates ``U`` to ``u``, absolute amounts."""

    E: int
    s: str
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class Depth(msgspec.Struct, frozen=True):
    """A snapshot by REST, or a partial-depth stream: levels, but neither symbol nor time."""

    lastUpdateId: int  # noqa: N815 - the exchange's name
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class Envelope(msgspec.Struct, frozen=True):
    """What a combined stream sends: the name of the stream and its message."""

    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of a refused request."""

    code: int
    msg: str

    @property
    def banned_until_ms(self) -> int | None:
        """When the ban that the text tells of ends, Unix ms of the exchange's clock."""
        found = _BANNED_UNTIL.search(self.msg)
        return int(found.group(1)) if found else None


class SymbolInfo(msgspec.Struct, frozen=True):
    """One symbol of exchangeInfo."""

    symbol: str
    status: str
    quoteAsset: str  # noqa: N815 - the exchange's name


class RateLimit(msgspec.Struct, frozen=True):
    """One limit of exchangeInfo."""

    rateLimitType: str  # noqa: N815 - the exchange's name
    interval: str
    intervalNum: int  # noqa: N815 - the exchange's name
    limit: int


class ExchangeInfo(msgspec.Struct, frozen=True):
    """What we need of ``GET /api/v3/exchangeInfo``."""

    serverTime: int  # noqa: N815 - the exchange's name
    rateLimits: list[RateLimit]  # noqa: N815 - the exchange's name
    symbols: list[SymbolInfo]

    @property
    def weight_per_minute(self) -> int | None:
        """The limit on request weight in a minute, if the exchange states one."""
        for limit in self.rateLimits:
            is_minute = limit.interval == "MINUTE" and limit.intervalNum == 1
            if limit.rateLimitType == "REQUEST_WEIGHT" and is_minute:
                return limit.limit
        return None


class ServerTime(msgspec.Struct, frozen=True):
    """``GET /api/v3/time``."""

    serverTime: int  # noqa: N815 - the exchange's name
