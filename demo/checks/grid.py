# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which minutes belong to a candle, and what they add up to. Pure."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

MINUTE_MS = 60_000
DAY_MS = 1_440 * MINUTE_MS
FIRST_MONDAY_MS = 4 * DAY_MS  # 1970-01-05
WIDTHS_MS = {
    "1": MINUTE_MS,
    "3": 3 * MINUTE_MS,
    "5": 5 * MINUTE_MS,
    "15": 15 * MINUTE_MS,
    "30": 30 * MINUTE_MS,
    "45": 45 * MINUTE_MS,
    "1H": 60 * MINUTE_MS,
    "2H": 120 * MINUTE_MS,
    "3H": 180 * MINUTE_MS,
    "4H": 240 * MINUTE_MS,
    "1D": DAY_MS,
    "1W": 7 * DAY_MS,
}
TIMEFRAMES = (*WIDTHS_MS, "1M")
SUMS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")


def open_ms(timeframe: str, time_ms: int) -> int:
    """Return when the candle opened that holds ``time_ms``; Unix ms, UTC."""
    if timeframe == "1M":
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
        return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * 1000
    width = WIDTHS_MS[timeframe]
    offset = FIRST_MONDAY_MS if timeframe == "1W" else 0
    return (time_ms - offset) // width * width + offset


def next_open_ms(timeframe: str, opened_ms: int) -> int:
    """Return when the candle after the one that opened then opens."""
    if timeframe == "1M":
        return open_ms("1M", opened_ms + 32 * DAY_MS)
    return opened_ms + WIDTHS_MS[timeframe]


def combined(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the candle that these ascending rows of ``/candles`` make up together."""
    return {
        "open_price": Decimal(rows[0]["open_price"]),
        "high_price": max(Decimal(row["high_price"]) for row in rows),
        "low_price": min(Decimal(row["low_price"]) for row in rows),
        "close_price": Decimal(rows[-1]["close_price"]),
        "trades": sum(row["trades"] for row in rows),
        **{name: sum(Decimal(row[name]) for row in rows) for name in SUMS},
    }


def differences(row: dict[str, Any], parts: list[dict[str, Any]]) -> list[str]:
    """Return the fields in which a row is not what its parts make up."""
    return [
        f"{name}: {row[name]} instead of {value}"
        for name, value in combined(parts).items()
        if Decimal(str(row[name])) != value
    ]
