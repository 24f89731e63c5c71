# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Klines as folds: of trades, or of smaller klines.

A table of klines is an int64 array with a row per kline and the columns below. Prices are ticks,
amounts lots, quote amounts units of the symbol's quote decimals. Rows without trades carry the
close before them in all four prices and -1 as both ids, as the exchange's own do.
"""

from enum import IntEnum

import numpy as np

from simulator.randomness import Int64s
from simulator.trades import Trades


class Column(IntEnum):
    """Columns of a table of klines."""

    OPEN_MS = 0
    CLOSE_MS = 1
    OPEN = 2
    HIGH = 3
    LOW = 4
    CLOSE = 5
    VOLUME = 6
    QUOTE_VOLUME = 7
    COUNT = 8
    TAKER_BASE = 9
    TAKER_QUOTE = 10
    FIRST_ID = 11
    LAST_ID = 12


def fold_trades(trades: Trades, edges_ms: Int64s, price_before: int) -> Int64s:
    """Return a kline for each [edge, next edge).

    Args:
        trades: Every trade of the whole stretch.
        edges_ms: Open times and, last, the end.
        price_before: The last price before the first edge, in ticks.
    """
    bounds = np.searchsorted(trades.times_ms, edges_ms)
    table = _empty_table(edges_ms)
    counts = np.diff(bounds)
    filled = np.flatnonzero(counts)
    if len(filled):
        starts, ends = bounds[:-1][filled], bounds[1:][filled] - 1
        prices, lots = trades.prices[: bounds[-1]], trades.lots[: bounds[-1]]
        taker_lots = np.where(trades.is_buyer_maker[: bounds[-1]], 0, lots)
        table[filled, Column.OPEN] = prices[starts]
        table[filled, Column.HIGH] = np.maximum.reduceat(prices, starts)
        table[filled, Column.LOW] = np.minimum.reduceat(prices, starts)
        table[filled, Column.CLOSE] = prices[ends]
        table[filled, Column.VOLUME] = np.add.reduceat(lots, starts)
        table[filled, Column.QUOTE_VOLUME] = np.add.reduceat(prices * lots, starts)
        table[filled, Column.COUNT] = counts[filled]
        table[filled, Column.TAKER_BASE] = np.add.reduceat(taker_lots, starts)
        table[filled, Column.TAKER_QUOTE] = np.add.reduceat(prices * taker_lots, starts)
        table[filled, Column.FIRST_ID] = trades.ids[starts]
        table[filled, Column.LAST_ID] = trades.ids[ends]
    return _carry_price(table, price_before)


def fold_klines(klines: Int64s, edges_ms: Int64s, price_before: int) -> Int64s:
    """Return a kline for each [edge, next edge), made of smaller ones.

    Only rows with trades count, so that the open is the first trade's price.
    """
    klines = klines[klines[:, Column.COUNT] > 0]
    bounds = np.searchsorted(klines[:, Column.OPEN_MS], edges_ms)
    table = _empty_table(edges_ms)
    filled = np.flatnonzero(np.diff(bounds))
    if len(filled):
        starts, ends = bounds[:-1][filled], bounds[1:][filled] - 1
        klines = klines[: bounds[-1]]
        for column in (Column.OPEN, Column.FIRST_ID):
            table[filled, column] = klines[starts, column]
        for column in (Column.CLOSE, Column.LAST_ID):
            table[filled, column] = klines[ends, column]
        table[filled, Column.HIGH] = np.maximum.reduceat(klines[:, Column.HIGH], starts)
        table[filled, Column.LOW] = np.minimum.reduceat(klines[:, Column.LOW], starts)
        sums = slice(Column.VOLUME, Column.TAKER_QUOTE + 1)
        table[filled, sums] = np.add.reduceat(klines[:, sums], starts, axis=0)
    return _carry_price(table, price_before)


def _empty_table(edges_ms: Int64s) -> Int64s:
    table = np.zeros((len(edges_ms) - 1, len(Column)), np.int64)
    table[:, Column.OPEN_MS] = edges_ms[:-1]
    table[:, Column.CLOSE_MS] = edges_ms[1:] - 1
    table[:, Column.FIRST_ID : Column.LAST_ID + 1] = -1
    return table


def _carry_price(table: Int64s, price_before: int) -> Int64s:
    """Give rows without trades the close before them."""
    is_empty = table[:, Column.COUNT] == 0
    if is_empty.any():
        row_numbers = np.arange(len(table))
        last_filled = np.maximum.accumulate(np.where(is_empty, -1, row_numbers))
        closes = np.where(last_filled >= 0, table[last_filled, Column.CLOSE], price_before)
        table[is_empty, Column.OPEN : Column.CLOSE + 1] = closes[is_empty, None]
    return table
