# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The names of the Redis channels, spelled here and nowhere else."""

CANDLES_ALL = "candles:all"
ORDERBOOK_ALL = "orderbook:all"
ORDERS_ALL = "orders:all"


def candles(symbol: str) -> str:
    """Return the channel of one symbol's one-minute candles."""
    return f"candles:{symbol}"


def orderbook(symbol: str) -> str:
    """Return the channel of one symbol's order books."""
    return f"orderbook:{symbol}"
