# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The names of Binance's streams, taken apart. Pure."""

from typing import NamedTuple

import msgspec

from marketdata.binance_intervals import INTERVALS


class Stream(msgspec.Struct, frozen=True):
    """One stream's name, taken apart.

    Attributes:
        kind: ``kline``, ``depth`` (changes), ``book``, ``bookTicker``, ``aggTrade`` or ``trade``.
        detail: The interval of a kline; the levels of a book.
        is_combined: Whether payloads are wrapped with the stream's name.
    """

    name: str
    symbol: str
    kind: str
    detail: str = ""
    is_combined: bool = False


def parse_stream(name: str, *, is_combined: bool) -> Stream | None:
    """Return the stream of that name, ``None`` for one that we have not."""
    symbol, _, kind = name.partition("@")
    detail = ""
    plain_kind = kind.removesuffix("@100ms").removesuffix("@1000ms")
    if plain_kind.startswith("kline_"):
        kind, detail = "kline", kind.removeprefix("kline_")
        if detail not in INTERVALS:
            return None
    elif plain_kind in {"depth5", "depth10", "depth20"}:
        kind, detail = "book", plain_kind.removeprefix("depth")
    elif plain_kind == "depth":
        kind = "depth"
    elif kind not in {"bookTicker", "aggTrade", "trade"}:
        return None
    if not symbol or symbol != symbol.lower():
        return None
    return Stream(name, symbol.upper(), kind, detail, is_combined)


class StreamTopic(NamedTuple):
    """The followers of one stream, in one of its two forms."""

    name: str
    is_combined: bool
