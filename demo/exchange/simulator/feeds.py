# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What a stream sends for a stretch of time. Pure: time is passed in, nothing is kept."""

from collections.abc import Callable

import msgspec
import numpy as np

from simulator import wire
from simulator.book import merge_changes
from simulator.exchange import Listing
from simulator.intervals import MINUTE_MS
from simulator.randomness import derive_key, hash_positions
from simulator.streams import FAST_DEPTH_MS, Stream


class Lateness(msgspec.Struct, frozen=True):
    """How late closing updates of klines are.

    Attributes:
        fixed_ms: Every one.
        jitter_ms: Up to how much more, at random.
    """

    fixed_ms: int = 0
    jitter_ms: int = 0

    def of(self, symbol: str, boundary_ms: int) -> int:
        """Return how late the update is that closes the kline ending at ``boundary_ms``."""
        if not self.jitter_ms:
            return self.fixed_ms
        draw = hash_positions(np.array([boundary_ms]), derive_key(symbol, "late"))
        return self.fixed_ms + int(draw[0]) % (self.jitter_ms + 1)


class Span(msgspec.Struct, frozen=True):
    """The stretch (after, until] that frames are made for, Unix ms.

    Attributes:
        after_ms: Frames up to here have been sent.
        until_ms: Now.
        scale: 1 for times in ms, 1000 for microseconds.
        lateness: How late closing updates are.
    """

    after_ms: int
    until_ms: int
    scale: int = 1
    lateness: Lateness = Lateness()

    def ticks(self, every_ms: int, phase_ms: int = 0) -> tuple[int, int] | None:
        """Return the last tick before the stretch and the last in it, ``None`` if none is in it."""
        before = (self.after_ms - phase_ms) // every_ms
        last = (self.until_ms - phase_ms) // every_ms
        if last == before:
            return None
        return before * every_ms + phase_ms, last * every_ms + phase_ms


def frames(stream: Stream, listing: Listing, span: Span) -> list[str]:
    """Return the payloads that the stream sends in that stretch, in order."""
    return _FEEDS[stream.kind](stream, listing, span)


def _kline_frames(stream: Stream, listing: Listing, span: Span) -> list[str]:
    found = _closing_frames(stream, listing, span)
    assert stream.interval is not None  # noqa: S101 - parse_stream gives klines one
    market, now_ms = listing.market, span.until_ms
    open_ms = stream.interval.open_ms(now_ms, stream.zone_ms)
    is_previous_closed = open_ms + span.lateness.of(stream.symbol, open_ms) <= now_ms
    phase_ms = derive_key(stream.symbol, "phase") % stream.every_ms
    if not is_previous_closed or not span.ticks(stream.every_ms, phase_ms):
        return found
    if market.interruptions.outage_at(now_ms):
        return found
    kline = market.kline_at(stream.interval, now_ms, stream.zone_ms)
    if kline is not None:
        found.append(
            wire.kline_event(
                market.symbol,
                stream.interval.name,
                kline,
                now_ms,
                is_closed=False,
                scale=span.scale,
            )
        )
    return found


def _closing_frames(stream: Stream, listing: Listing, span: Span) -> list[str]:
    """Return the closing updates that are due in the stretch."""
    interval = stream.interval
    assert interval is not None  # noqa: S101 - parse_stream gives klines one
    market, found = listing.market, []
    boundary_ms = interval.open_ms(span.until_ms, stream.zone_ms)
    latest_ms = span.lateness.fixed_ms + span.lateness.jitter_ms
    while boundary_ms + latest_ms > span.after_ms and boundary_ms > market.listed_ms:
        due_ms = boundary_ms + span.lateness.of(stream.symbol, boundary_ms)
        is_trading = market.interruptions.outage_at(boundary_ms - 1) is None
        if span.after_ms < due_ms <= span.until_ms and is_trading:
            kline = market.kline_at(interval, boundary_ms - 1, stream.zone_ms)
            if kline is not None:
                text = wire.kline_event(
                    market.symbol,
                    interval.name,
                    kline,
                    span.until_ms,
                    is_closed=True,
                    scale=span.scale,
                )
                found.append(text)
        boundary_ms = interval.shift(boundary_ms, -1, stream.zone_ms)
    return found[::-1]


def _partial_frames(stream: Stream, listing: Listing, span: Span) -> list[str]:
    ticks = span.ticks(stream.every_ms)
    if ticks is None or listing.market.interruptions.outage_at(ticks[1]):
        return []
    book = listing.book.book(ticks[1], stream.depth)
    return [] if book is None else [wire.partial_book(listing.market.symbol, book)]


def _diff_frames(stream: Stream, listing: Listing, span: Span) -> list[str]:
    ticks = span.ticks(stream.every_ms)
    if ticks is None:
        return []
    changes = listing.book.changes(*ticks)
    if len(changes) > 1 and stream.every_ms > FAST_DEPTH_MS:
        changes = [merge_changes(changes)]
    return [wire.diff_event(listing.market.symbol, change, span.scale) for change in changes]


def _trade_frames(stream: Stream, listing: Listing, span: Span) -> list[str]:
    if span.until_ms - span.after_ms > MINUTE_MS:
        span = msgspec.structs.replace(span, after_ms=span.until_ms - MINUTE_MS)
    trades = listing.market.trades(span.after_ms + 1, span.until_ms + 1)
    write = wire.trade_events if stream.kind == "trade" else wire.aggregate_trade_events
    return write(listing.market.symbol, trades, span.until_ms, span.scale)


def _ticker_frames(_: Stream, listing: Listing, span: Span) -> list[str]:
    tops = listing.book.tops(span.after_ms, span.until_ms)
    return [wire.book_ticker(listing.market.symbol, top) for top in tops]


_FEEDS: dict[str, Callable[[Stream, Listing, Span], list[str]]] = {
    "kline": _kline_frames,
    "partial": _partial_frames,
    "depth": _diff_frames,
    "trade": _trade_frames,
    "aggTrade": _trade_frames,
    "bookTicker": _ticker_frames,
}
