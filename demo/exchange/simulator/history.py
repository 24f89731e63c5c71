# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which klines a request gets: the rules of ``/api/v3/klines`` about bounds, order and limits."""

import numpy as np

from simulator.intervals import INTERVALS, MINUTE_MS, Interval
from simulator.klines import Column
from simulator.market import Market
from simulator.randomness import Int64s


def find_klines(
    market: Market,
    interval: Interval,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
    now_ms: int,
    zone_ms: int = 0,
) -> Int64s:
    """Return the klines that the exchange answers with, oldest first.

    Both bounds are inclusive and compare open times. With a start, the oldest ``limit`` from it
    on; without, the newest ``limit`` up to the end.

    Args:
        market: The symbol's market.
        interval: Kline interval.
        start_ms: First open time wanted, or none.
        end_ms: Last open time wanted, or none.
        limit: Most rows.
        now_ms: The moment of the request: the last kline may be the running one.
        zone_ms: What the klines' time zone is ahead of UTC.
    """
    last_ms = min(now_ms, now_ms if end_ms is None else end_ms)
    oldest_ms = interval.open_ms(market.listed_ms, zone_ms)
    parts: list[Int64s] = []
    found = 0
    if start_ms is None:
        end_open_ms = interval.shift(interval.open_ms(last_ms, zone_ms), 1, zone_ms)
        while found < limit and end_open_ms > oldest_ms:
            first_ms = max(interval.shift(end_open_ms, -limit, zone_ms), oldest_ms)
            rows = _rows(market, interval, first_ms, end_open_ms, now_ms, zone_ms)
            rows = rows[rows[:, Column.OPEN_MS] <= last_ms]
            parts.insert(0, rows)
            found += len(rows)
            end_open_ms = _before_outage(market, interval, first_ms, zone_ms)
        return np.concatenate(parts)[-limit:] if parts else _no_rows()
    open_ms = max(interval.open_ms(start_ms, zone_ms), oldest_ms)
    missed = int(open_ms < start_ms)  # the kline that holds the start counts only if off-grid
    while found < limit and open_ms <= last_ms:
        outage = market.interruptions.outage_at(open_ms)
        if outage:
            open_ms = max(open_ms, interval.open_ms(outage.end_ms, zone_ms))
        stop_ms = interval.shift(open_ms, limit - found + missed, zone_ms)
        missed = 0
        rows = _rows(market, interval, open_ms, stop_ms, now_ms, zone_ms)
        opens = rows[:, Column.OPEN_MS]
        rows = rows[(opens >= start_ms) & (opens <= last_ms)]
        parts.append(rows)
        found += len(rows)
        open_ms = stop_ms
    return np.concatenate(parts)[:limit] if parts else _no_rows()


def _before_outage(market: Market, interval: Interval, open_ms: int, zone_ms: int) -> int:
    """Return where klines before ``open_ms`` end, skipping the outage right before it."""
    outage = market.interruptions.outage_at(open_ms - 1)
    if outage is None:
        return open_ms
    return min(open_ms, interval.shift(interval.open_ms(outage.start_ms, zone_ms), 1, zone_ms))


def _rows(
    market: Market, interval: Interval, first_ms: int, stop_ms: int, now_ms: int, zone_ms: int
) -> Int64s:
    if interval.name == "1M":
        count = 0
        while interval.shift(first_ms, count, zone_ms) < min(stop_ms, now_ms + 1):
            count += 1
    else:
        count = (min(stop_ms, now_ms + interval.width_ms) - first_ms) // interval.width_ms
    if count <= 0:
        return _no_rows()
    return market.klines(interval, interval.edges(first_ms, count, zone_ms), now_ms + 1)


def _no_rows() -> Int64s:
    return np.zeros((0, len(Column)), np.int64)


def minute_klines(market: Market, start_ms: int, end_ms: int, now_ms: int) -> Int64s:
    """Return the one-minute klines that open in [start, end], however many."""
    count = max(1, (end_ms - start_ms) // MINUTE_MS + 2)
    return find_klines(market, INTERVALS["1m"], start_ms, end_ms, count, now_ms)
