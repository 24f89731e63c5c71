# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""One symbol's market: its trades, klines and ids, with interruptions and revisions applied."""

from collections import OrderedDict

import numpy as np

from simulator.interruptions import Interruptions, Outage, Stretch
from simulator.intervals import DAY_MS, HOUR_MS, INTERVALS, MINUTE_MS, Interval
from simulator.klines import Column, fold_klines, fold_trades
from simulator.randomness import Int64s
from simulator.symbols import ORIGIN_MS, Symbol
from simulator.trades import Trades, TradeSource

CACHED_MINUTES = 64
CACHED_DAYS = 4_000
_LOOK_BACK_MINUTES = (16, 240, 1_440, 20_000)


class Market:
    """One symbol at any moment. What it says depends on the moment asked for, never on a clock."""

    def __init__(self, symbol: Symbol, source: TradeSource, listed_ms: int = ORIGIN_MS) -> None:
        self.symbol = symbol
        self.listed_ms = listed_ms
        self.status = "TRADING"
        self.interruptions = Interruptions()
        self.revised_minutes: dict[int, int] = {}
        self.version = 0
        self._source = source
        self._silent: list[Stretch] = []
        self._removed: list[int] = []
        self._minutes: OrderedDict[int, Trades] = OrderedDict()
        self._days: OrderedDict[int, Int64s] = OrderedDict()
        if listed_ms > ORIGIN_MS:
            self.interrupt(self.interruptions.with_outage(Outage(0, listed_ms)))

    # What changes a market

    def interrupt(self, interruptions: Interruptions) -> None:
        """Replace the interruptions; trade ids after a changed stretch move accordingly."""
        self.interruptions = interruptions
        self.version += 1
        self._minutes.clear()
        self._days.clear()
        self._silent, self._removed = [], []
        for stretch in interruptions.silent_stretches():
            before, inside = self._raw_total(stretch.start_ms), self._raw_total(stretch.end_ms)
            self._silent.append(stretch)
            self._removed.append(inside - before)

    def revise(self, open_ms: int) -> None:
        """Give the minute at ``open_ms`` other prices and amounts, everywhere at once."""
        minute = open_ms // MINUTE_MS
        self._source.revise(minute)
        self.version += 1
        self.revised_minutes[minute] = self.revised_minutes.get(minute, 0) + 1
        self._minutes.clear()
        self._days.pop(open_ms // DAY_MS, None)

    # Trades

    def trades(self, start_ms: int, end_ms: int) -> Trades:
        """Return the trades of [start, end)."""
        start_ms = max(start_ms, ORIGIN_MS)
        first, end = start_ms // MINUTE_MS, -(-end_ms // MINUTE_MS)
        if end - first == 1:
            return self._minute_trades(first).between(start_ms, end_ms)
        return self._trades_of_minutes(first, end).between(start_ms, end_ms)

    def first_id_from(self, time_ms: int) -> int:
        """Return the id that the first trade at or after ``time_ms`` has."""
        return self._raw_total(time_ms) - self._removed_before(time_ms)

    def trades_from_id(self, first_id: int, count: int, end_ms: int) -> Trades:
        """Return up to ``count`` trades from that id on, all before ``end_ms``."""
        low, high = self.listed_ms // MINUTE_MS, end_ms // MINUTE_MS
        while low < high:
            middle = (low + high + 1) // 2
            if self.first_id_from(middle * MINUTE_MS) <= first_id:
                low = middle
            else:
                high = middle - 1
        span_ms = MINUTE_MS * (2 + 2 * count // max(1, self.symbol.trades_per_minute))
        start_ms = low * MINUTE_MS
        while True:
            found = self.trades(start_ms, min(start_ms + span_ms, end_ms))
            found = found.pick(found.ids >= first_id)
            if len(found) >= count or start_ms + span_ms >= end_ms:
                return found.pick(slice(0, count))
            span_ms *= 4

    def last_trades(self, count: int, end_ms: int) -> Trades:
        """Return the last ``count`` trades before ``end_ms``."""
        last_id = self.first_id_from(end_ms) - 1
        return self.trades_from_id(max(last_id - count + 1, 0), count, end_ms)

    def last_trade_before(self, time_ms: int) -> Trades | None:
        """Return the last trade before ``time_ms`` as one row, ``None`` if there was none."""
        minute = (time_ms - 1) // MINUTE_MS
        trades = self._minute_trades(minute).between(0, time_ms)
        for back in _LOOK_BACK_MINUTES:
            if len(trades):
                break
            trades = self._trades_of_minutes(minute - back, minute)
        return trades.pick(slice(len(trades) - 1, len(trades))) if len(trades) else None

    def price_before(self, time_ms: int) -> int:
        """Return the last price before ``time_ms`` in ticks."""
        trade = self.last_trade_before(time_ms)
        if trade is None:
            return self._source.reference_ticks(time_ms // MINUTE_MS)
        return int(trade.prices[0])

    def open_moment(self, time_ms: int) -> int:
        """Return ``time_ms``, or the last moment before the outage that it lies in."""
        outage = self.interruptions.outage_at(time_ms)
        return outage.start_ms - 1 if outage else time_ms

    # Klines

    def klines(self, interval: Interval, edges_ms: Int64s, seen_until_ms: int) -> Int64s:
        """Return the klines between the edges that exist, made of trades before a moment.

        Args:
            interval: Their interval.
            edges_ms: Open times and, last, the end, as from ``Interval.edges``.
            seen_until_ms: Trades at this moment and later have not happened yet.
        """
        count = int(np.searchsorted(edges_ms[:-1], seen_until_ms))
        if not count:
            return np.zeros((0, len(Column)), np.int64)
        edges_ms = edges_ms[: count + 1]
        start_ms, end_ms = int(edges_ms[0]), min(int(edges_ms[-1]), seen_until_ms)
        price_before = self.price_before(start_ms)
        if interval.width_ms <= MINUTE_MS:
            table = fold_trades(self.trades(start_ms, end_ms), edges_ms, price_before)
        else:
            smaller = self._building_blocks(
                start_ms, end_ms, on_hours=not (edges_ms % HOUR_MS).any()
            )
            table = fold_klines(smaller, edges_ms, price_before)
        return self.interruptions.label(table, seen_until_ms)

    def kline_at(self, interval: Interval, time_ms: int, zone_ms: int = 0) -> Int64s | None:
        """Return the kline that holds ``time_ms`` as it stands right after that moment."""
        edges_ms = interval.edges(interval.open_ms(time_ms, zone_ms), 1, zone_ms)
        table = self.klines(interval, edges_ms, time_ms + 1)
        return table[0] if len(table) else None

    def _building_blocks(self, start_ms: int, end_ms: int, *, on_hours: bool) -> Int64s:
        """Return minute or hour klines of [start, end), without labels."""
        if not on_hours:
            return self._grid_klines(MINUTE_MS, start_ms, end_ms)
        parts = []
        while start_ms < end_ms:
            day = start_ms // DAY_MS
            day_end_ms = (day + 1) * DAY_MS
            if day_end_ms <= end_ms:
                hours = self._day(day)
                parts.append(hours[hours[:, Column.OPEN_MS] >= start_ms])
            else:
                parts.append(self._grid_klines(HOUR_MS, start_ms, end_ms))
            start_ms = day_end_ms
        return np.concatenate(parts)

    def _grid_klines(self, width_ms: int, start_ms: int, end_ms: int) -> Int64s:
        edges_ms = np.arange(start_ms, end_ms + width_ms, width_ms)
        return fold_trades(self.trades(start_ms, end_ms), edges_ms, 0)

    def _day(self, day: int) -> Int64s:
        hours, version = self._days.get(day), self.version
        if hours is None:
            hours = self._grid_klines(HOUR_MS, day * DAY_MS, (day + 1) * DAY_MS)
            if version == self.version:  # requests of whole years run in a thread
                self._days[day] = hours
            if len(self._days) > CACHED_DAYS:
                self._days.popitem(last=False)
        return hours

    # Raw trades and their ids

    def _raw_total(self, time_ms: int) -> int:
        """Return the number of the source's trades before ``time_ms``."""
        minute = time_ms // MINUTE_MS
        total = self._source.total(minute)
        if time_ms % MINUTE_MS:
            times_ms = self._source.trades(minute, minute + 1).times_ms
            total += int(np.searchsorted(times_ms, time_ms))
        return total

    def _removed_before(self, time_ms: int) -> int:
        removed = 0
        for stretch, count in zip(self._silent, self._removed, strict=True):
            if stretch.end_ms <= time_ms:
                removed += count
            elif stretch.start_ms < time_ms:
                removed += self._raw_total(time_ms) - self._raw_total(stretch.start_ms)
        return removed

    def _minute_trades(self, minute: int) -> Trades:
        trades, version = self._minutes.get(minute), self.version
        if trades is None:
            trades = self._trades_of_minutes(minute, minute + 1)
            if version == self.version:
                self._minutes[minute] = trades
            if len(self._minutes) > CACHED_MINUTES:
                self._minutes.popitem(last=False)
        return trades

    def _trades_of_minutes(self, first: int, end: int) -> Trades:
        raw = self._source.trades(first, end)
        if not self._silent:
            return raw
        start_ms, end_ms = first * MINUTE_MS, end * MINUTE_MS
        happened = np.ones(len(raw), np.bool_)
        for stretch in self._silent:
            if stretch.start_ms < end_ms and stretch.end_ms > start_ms:
                low, high = np.searchsorted(raw.times_ms, (stretch.start_ms, stretch.end_ms))
                happened[low:high] = False
        removed = self._removed_before(start_ms) + np.cumsum(~happened)
        return raw.pick(happened, removed[happened])


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
