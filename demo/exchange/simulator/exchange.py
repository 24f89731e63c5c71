# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The exchange: its symbols, its clock, its switches and what it has counted."""

import random
import time
from collections import Counter
from pathlib import Path

import msgspec

from simulator.book import BookSource, GeneratedBook
from simulator.capture import read_capture
from simulator.known_outages import known_outages
from simulator.market import Market
from simulator.replay import RecordedBook, RecordedTrades, first_event_ms, shift_to
from simulator.settings import Settings, Switches
from simulator.symbols import ORIGIN_MS, list_symbols, make_symbol
from simulator.trades import GeneratedTrades


class Listing(msgspec.Struct, frozen=True):
    """A symbol on the exchange: its market and its order book."""

    market: Market
    book: BookSource


class Exchange:
    """Everything that REST, streams and control share. Serves one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.switches: Switches = settings.switches()
        self.counters: Counter[str] = Counter()
        self.down_until_ms = 0
        self.started_ms = self.now_ms()
        self.rng = random.Random(settings.seed)  # noqa: S311 - faults, not secrets
        self.listings: dict[str, Listing] = {
            symbol.name: self.generate(symbol.name, position)
            for position, symbol in enumerate(
                list_symbols(settings.symbols, settings.extra_symbols).values()
            )
        }

        self.replay_until_ms = self._play(settings) if settings.replay else 0

    def _play(self, settings: Settings) -> int:
        """List the recorded symbols instead of generated ones; return when the recording ends."""
        recordings = read_capture(Path(settings.replay or ""))
        first_ms = min(first_event_ms(recording) for recording in recordings)
        shift_ms = shift_to(first_ms, self.now_ms(), settings.replay_minutes_ago)
        for recording in recordings:
            source = RecordedTrades(recording, shift_ms)
            listed_ms = recording.trades[0].trade_ms + shift_ms
            market = Market(recording.symbol, source, listed_ms)
            book = RecordedBook(recording, market, shift_ms)
            self.listings[recording.symbol.name] = Listing(market, book)
        return max(r.trades[-1].trade_ms for r in recordings) + shift_ms

    def now_ms(self) -> int:
        """Return the exchange's time, Unix ms."""
        return time.time_ns() // 1_000_000 + self.switches.clock_offset_ms

    def generate(self, name: str, position: int = 0, listed_ms: int = ORIGIN_MS) -> Listing:
        """Return a listing with a generated market."""
        symbol = make_symbol(name, position)
        source = GeneratedTrades(symbol, self.settings.seed, self.settings.zero_trade_rate)
        market = Market(symbol, source, listed_ms)
        if self.settings.real_outages:
            interruptions = market.interruptions
            for outage in known_outages():
                interruptions = interruptions.with_outage(outage)
            market.interrupt(interruptions)
        return Listing(market, GeneratedBook(market, self.settings.seed))
