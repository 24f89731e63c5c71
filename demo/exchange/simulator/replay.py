# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A market that plays a recording, its times shifted by whole minutes."""

from functools import lru_cache

import msgspec
import numpy as np

from simulator.book import Book, BookChange
from simulator.capture import Level, Payload, Recording, scaled
from simulator.intervals import MINUTE_MS
from simulator.market import Market
from simulator.randomness import Int64s
from simulator.symbols import Symbol
from simulator.trades import Trades

_CHECKPOINT_EVERY = 256
Side = dict[int, int]


def shift_to(first_ms: int, now_ms: int, minutes_ago: int) -> int:
    """Return by how much a recording that begins at ``first_ms`` is moved.

    Whole minutes, so that every event keeps its place in its minute. It begins within the next
    sixty seconds, or ``minutes_ago`` minutes earlier.
    """
    shift_ms = now_ms // MINUTE_MS * MINUTE_MS - first_ms // MINUTE_MS * MINUTE_MS
    if first_ms + shift_ms < now_ms:
        shift_ms += MINUTE_MS
    return shift_ms - minutes_ago * MINUTE_MS


def first_event_ms(recording: Recording) -> int:
    """Return when the recording begins, by the exchange's clock of its day."""
    times_ms = [recording.trades[0].trade_ms]
    times_ms += [diff.event_ms for diff in recording.diffs[:1]]
    return min(times_ms)


class RecordedTrades:
    """The recorded trades as a source of a market."""

    def __init__(self, recording: Recording, shift_ms: int) -> None:
        trades, symbol = recording.trades, recording.symbol
        times_ms = np.array([t.trade_ms + shift_ms for t in trades], np.int64)
        self._trades = Trades(
            np.array([t.trade_id for t in trades], np.int64),
            np.maximum.accumulate(times_ms),
            np.array([scaled(t.price, symbol.price_decimals) for t in trades], np.int64),
            np.array([scaled(t.quantity, symbol.lot_decimals) for t in trades], np.int64),
            np.array([t.is_buyer_maker for t in trades], np.bool_),
            np.ones(len(trades), np.int64),
        )

    def trades(self, first_minute: int, end_minute: int) -> Trades:
        """Return every trade of the Unix minutes [first, end)."""
        return self._trades.between(first_minute * MINUTE_MS, end_minute * MINUTE_MS)

    def total(self, minute: int) -> int:
        """Return the id of the first trade at or after ``minute``, or the one after the last."""
        place = int(np.searchsorted(self._trades.times_ms, minute * MINUTE_MS))
        if place == len(self._trades):
            return int(self._trades.ids[-1]) + 1
        return int(self._trades.ids[place])

    def reference_ticks(self, _: int) -> int:
        """Return the first recorded price."""
        return int(self._trades.prices[0])

    def revise(self, minute: int) -> None:
        """Make every amount of ``minute`` one lot larger."""
        first, end = np.searchsorted(
            self._trades.times_ms, (minute * MINUTE_MS, (minute + 1) * MINUTE_MS)
        )
        lots = self._trades.lots.copy()
        lots[first:end] += 1
        self._trades = msgspec.structs.replace(self._trades, lots=lots)


class RecordedBook:
    """The recorded order book: its snapshot and the diffs after it."""

    def __init__(self, recording: Recording, market: Market, shift_ms: int) -> None:
        self._market = market
        symbol, snapshot = recording.symbol, recording.snapshot
        self._first_id = snapshot.last_update_id if snapshot else 0
        diffs = [d for d in recording.diffs if d.last_id > self._first_id]
        self._changes = [_change(symbol, diff, shift_ms) for diff in diffs]
        self._times_ms = np.array([c.time_ms for c in self._changes], np.int64)
        bids = _side(symbol, snapshot.bids if snapshot else [])
        asks = _side(symbol, snapshot.asks if snapshot else [])
        self._checkpoints: list[tuple[Side, Side]] = []
        for number, change in enumerate(self._changes):
            if number % _CHECKPOINT_EVERY == 0:
                self._checkpoints.append((dict(bids), dict(asks)))
            _apply(bids, change.bids)
            _apply(asks, change.asks)
        if not self._changes:
            self._checkpoints.append((bids, asks))
        lead_ms = recording.clock_lead_ms + shift_ms
        quotes = [(received_ms + lead_ms, quote) for received_ms, quote in recording.quotes]
        self._tops = [_top(symbol, quote) for _, quote in quotes]
        self._top_times_ms = np.array([time_ms for time_ms, _ in quotes], np.int64)
        self._book = lru_cache(maxsize=16)(self._rebuild)

    def book(self, time_ms: int, depth: int) -> Book | None:
        """Return the best ``depth`` levels of each side after the last diff before."""
        time_ms = self._market.open_moment(time_ms)
        count = int(np.searchsorted(self._times_ms, time_ms, side="right"))
        book = self._book(count)
        if not len(book.bids) or not len(book.asks):
            return None
        return Book(book.update_id, book.bids[:depth], book.asks[:depth])

    def changes(self, after_ms: int, until_ms: int) -> list[BookChange]:
        """Return the recorded diffs of (after, until]."""
        first, end = self._places(self._times_ms, after_ms, until_ms)
        return self._changes[first:end]

    def tops(self, after_ms: int, until_ms: int) -> list[Book]:
        """Return the recorded quotes of (after, until]."""
        first, end = self._places(self._top_times_ms, after_ms, until_ms)
        return self._tops[first:end]

    def _places(self, times_ms: Int64s, after_ms: int, until_ms: int) -> tuple[int, int]:
        moments = (self._market.open_moment(after_ms), self._market.open_moment(until_ms))
        first, end = np.searchsorted(times_ms, moments, side="right")
        return int(first), int(end)

    def _rebuild(self, count: int) -> Book:
        """Return the whole book after the first ``count`` changes."""
        place = min(count // _CHECKPOINT_EVERY, len(self._checkpoints) - 1)
        bids, asks = (dict(side) for side in self._checkpoints[place])
        for change in self._changes[place * _CHECKPOINT_EVERY : count]:
            _apply(bids, change.bids)
            _apply(asks, change.asks)
        update_id = self._changes[count - 1].last_id if count else self._first_id
        return Book(update_id, _levels(bids)[::-1], _levels(asks))


def _change(symbol: Symbol, diff: Payload, shift_ms: int) -> BookChange:
    return BookChange(
        diff.first_id,
        diff.last_id,
        diff.event_ms + shift_ms,
        _pairs(symbol, diff.bids),
        _pairs(symbol, diff.asks),
    )


def _top(symbol: Symbol, quote: Payload) -> Book:
    bid = _pairs(symbol, [Level(str(quote.bids), quote.bid_quantity)])
    ask = _pairs(symbol, [Level(str(quote.asks), quote.ask_quantity)])
    return Book(quote.last_id, bid, ask)


def _pairs(symbol: Symbol, levels: list[Level] | str) -> Int64s:
    rows = [
        (scaled(lv.price, symbol.price_decimals), scaled(lv.quantity, symbol.lot_decimals))
        for lv in levels
        if isinstance(lv, Level)
    ]
    return np.array(rows, np.int64).reshape(-1, 2)


def _side(symbol: Symbol, levels: list[Level]) -> Side:
    return dict(_pairs(symbol, levels).tolist())


def _apply(side: Side, levels: Int64s) -> None:
    for price, lots in levels.tolist():
        if lots:
            side[price] = lots
        else:
            side.pop(price, None)


def _levels(side: Side) -> Int64s:
    return np.array(sorted(side.items()), np.int64).reshape(-1, 2)
