# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Made one-minute candles of a day in February 2024, and klines answers that hold them."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from linkora.market import Candle
from linkora.timeframes import MINUTE_MS

START_MS = 1_706_745_600_000  # 2024-02-01T00:00:00Z
FAR_MS = 4_000_000_000_000  # later than every candle here


def candle(minute: int = 0, *, symbol: str = "BTCUSDT", **changes: Any) -> Candle:
    """Return the closed candle of the ``minute``-th minute, with some fields changed."""
    open_ms = START_MS + minute * MINUTE_MS
    plain = Candle(
        symbol=symbol,
        open_time_ms=open_ms,
        close_time_ms=open_ms + MINUTE_MS - 1,
        open=Decimal("10.5"),
        high=Decimal(11),
        low=Decimal(10),
        close=Decimal("10.75"),
        volume=Decimal(2),
        quote_volume=Decimal(21),
        trades=5,
        taker_buy_volume=Decimal(1),
        taker_buy_quote_volume=Decimal(10),
        is_closed=True,
    )
    return msgspec.structs.replace(plain, **changes)


def kline(minute: int = 0, *, trades: int = 5, close: str = "10.75", **changes: int) -> list[Any]:
    """Return the same as a row of a klines answer; ``open_ms`` and ``close_ms`` can be set."""
    open_ms = START_MS + minute * MINUTE_MS
    opens = changes.get("open_ms", open_ms)
    closes = changes.get("close_ms", open_ms + MINUTE_MS - 1)
    return [opens, "10.5", "11", "10", close, "2", closes, "21", trades, "1", "10", "0"]


def page(rows: Sequence[list[Any]]) -> bytes:
    """Return the body of a klines answer."""
    return json.dumps(rows).encode()
