# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The names of the Redis channels, spelled here and nowhere else."""

CANDLES_ALL = "candles:all"
ORDERBOOK_ALL = "orderbook:all"
ORDERS_ALL = "orders:all"
TRADES_ALL = "trades:all"


def candles(symbol: str) -> str:
    """Return the channel of one symbol's one-minute candles."""
    return f"candles:{symbol}"


def orderbook(symbol: str) -> str:
    """Return the channel of one symbol's order books."""
    return f"orderbook:{symbol}"


def trades(symbol: str) -> str:
    """Return the channel of one symbol's trades."""
    return f"trades:{symbol}"


def recent_trades_key(symbol: str) -> str:
    """Return the key of the Redis list of one symbol's newest trades, the newest first."""
    return f"recent_trades:{symbol}"
