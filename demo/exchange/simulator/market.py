# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""One symbol's market: its trades, klines and ids, with interruptions and revisions applied."""

from collections import OrderedDict

import numpy as np

from simulator.interruptions import Interruptions, Outage, Stretch
from simulator.intervals import DAY_MS, HOUR_MS, MINUTE_MS, Interval
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
