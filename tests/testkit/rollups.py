# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The wider candles the naive way, from the one-minute rows, to hold the rollup tables against."""

from collections.abc import Iterable
from typing import Any

import asyncpg

from linkora.timeframes import TIMEFRAMES, Timeframe

_MS = "(extract(epoch FROM {}) * 1000)::bigint AS {}"
_VALUES = (
    "open_price, high_price, low_price, close_price, volume, quote_volume, trades,"
    " taker_buy_volume, taker_buy_quote_volume, revision"
)
_MINUTES = (
    f"SELECT symbol, {_MS.format('open_time', 'open_ms')}, {_VALUES}, is_closed"
    " FROM candles WHERE symbol = $1 ORDER BY open_time"
)
_ROLLUP = (
    f"SELECT symbol, {_MS.format('open_time', 'open_ms')},"
    f" {_MS.format('close_time', 'close_ms')}, {_VALUES}, minutes, closed_minutes,"
    f" {_MS.format('last_open_time', 'last_open_ms')}"
    " FROM {} WHERE symbol = $1 ORDER BY open_time"
)


async def assert_rollups_are_exact(pool: asyncpg.Pool, symbol: str) -> int:
    """Compare all twelve tables with the minutes of ``symbol``; return the number of minutes."""
    minutes = [dict(row) for row in await pool.fetch(_MINUTES, symbol)]
    for frame in TIMEFRAMES.values():
        if frame.parent is not None:
            stored = [dict(row) for row in await pool.fetch(_ROLLUP.format(frame.table), symbol)]
            assert stored == rolled_up(minutes, frame), frame.table
    return len(minutes)


def rolled_up(minutes: Iterable[dict[str, Any]], frame: Timeframe) -> list[dict[str, Any]]:
    """Return the rows that the table of ``frame`` should have, given all minutes in order."""
    buckets: dict[int, list[dict[str, Any]]] = {}
    for minute in minutes:
        buckets.setdefault(frame.open_ms(minute["open_ms"]), []).append(minute)
    return [_rollup(open_ms, inside, frame) for open_ms, inside in sorted(buckets.items())]


def _rollup(open_ms: int, inside: list[dict[str, Any]], frame: Timeframe) -> dict[str, Any]:
    return {
        "symbol": inside[0]["symbol"],
        "open_ms": open_ms,
        "close_ms": frame.close_ms(open_ms),
        "open_price": inside[0]["open_price"],
        "high_price": max(minute["high_price"] for minute in inside),
        "low_price": min(minute["low_price"] for minute in inside),
        "close_price": inside[-1]["close_price"],
        **{
            name: sum(minute[name] for minute in inside)
            for name in (
                "volume",
                "quote_volume",
                "trades",
                "taker_buy_volume",
                "taker_buy_quote_volume",
                "revision",
            )
        },
        "minutes": len(inside),
        "closed_minutes": sum(minute["is_closed"] for minute in inside),
        "last_open_ms": max(minute["open_ms"] for minute in inside),
    }
