# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The loop that sends streams: every 100 ms, what happened since, to whom it concerns."""

import asyncio
from collections import Counter

import structlog

from simulator.connection import Connection
from simulator.exchange import Exchange
from simulator.feeds import Lateness, Span, frames
from simulator.intervals import MINUTE_MS
from simulator.streams import Stream, parse_stream

log = structlog.get_logger(__name__)

SLOT_MS = 100
LONGEST_SPAN_MS = 5 * MINUTE_MS  # after a longer sleep, or a clock that was set, streams skip
_TOPICS_PER_TURN = 20
Topic = tuple[Stream, int]


class Broadcaster:
    """Sends every stream that somebody listens to."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.connections: set[Connection] = set()
        self.next_diffs: Counter[str] = Counter()
        self._topics: dict[Topic, list[Connection]] | None = None
        self._revisions: list[tuple[int, str, int]] = []

    def refresh(self) -> None:
        """Forget who listens to what; the next turn asks the connections."""
        self._topics = None

    def join(self, connection: Connection) -> None:
        """Start sending to a connection."""
        self.connections.add(connection)
        self.refresh()

    def leave(self, connection: Connection) -> None:
        """Stop sending to a connection."""
        self.connections.discard(connection)
        self.refresh()

    async def run(self) -> None:
        """Send for ever; late turns catch up, and no diff is ever left out by lateness."""
        sent_ms = self._slot_ms()
        while True:
            await asyncio.sleep((sent_ms + SLOT_MS - self._exchange.now_ms()) / 1_000)
            now_ms = self._slot_ms()
            if not 0 <= now_ms - sent_ms <= LONGEST_SPAN_MS:
                sent_ms = now_ms - SLOT_MS
            if now_ms > sent_ms:
                self._break_connections((now_ms - sent_ms) / 1_000)
                self._revise(sent_ms, now_ms)
                await self._send(sent_ms, now_ms)
                sent_ms = now_ms

    def greet(self, connection: Connection, names: list[str]) -> None:
        """Send the newest frame of streams before the answer to their SUBSCRIBE."""
        now_ms = self._slot_ms()
        for topic in _topics_of(names, connection.scale):
            listing = self._exchange.listings.get(topic[0].symbol)
            if listing:
                span = self._span(now_ms - max(SLOT_MS, topic[0].every_ms), now_ms, topic[1])
                for payload in frames(topic[0], listing, span)[-1:]:
                    connection.offer(topic[0].name, payload)

    def _slot_ms(self) -> int:
        return self._exchange.now_ms() // SLOT_MS * SLOT_MS

    def _span(self, after_ms: int, until_ms: int, scale: int) -> Span:
        switches = self._exchange.switches
        lateness = Lateness(switches.close_late_ms, switches.close_late_jitter_ms)
        return Span(after_ms, until_ms, scale, lateness)

    async def _send(self, after_ms: int, until_ms: int) -> None:
        for turn, ((stream, scale), listeners) in enumerate(list(self._listeners().items())):
            listing = self._exchange.listings.get(stream.symbol)
            if listing is None:
                continue
            for payload in frames(stream, listing, self._span(after_ms, until_ms, scale)):
                for _ in range(self._copies(stream)):
                    for connection in listeners:
                        connection.offer(stream.name, payload)
            if turn % _TOPICS_PER_TURN == _TOPICS_PER_TURN - 1:
                await asyncio.sleep(0)

    def _listeners(self) -> dict[Topic, list[Connection]]:
        if self._topics is None:
            self._topics = {}
            for connection in self.connections:
                for stream in connection.streams.values():
                    if stream:
                        self._topics.setdefault((stream, connection.scale), []).append(connection)
        return self._topics

    def _copies(self, stream: Stream) -> int:
        """Return how often a frame is sent: once, unless the switches tamper with diffs."""
        if stream.kind != "depth":
            return 1
        switches, rng, counters = (
            self._exchange.switches,
            self._exchange.rng,
            self._exchange.counters,
        )
        if self.next_diffs["drop"] or rng.random() < switches.diff_drop_rate:
            self.next_diffs["drop"] = max(0, self.next_diffs["drop"] - 1)
            counters["diffs_dropped"] += 1
            return 0
        if self.next_diffs["duplicate"] or rng.random() < switches.diff_duplicate_rate:
            self.next_diffs["duplicate"] = max(0, self.next_diffs["duplicate"] - 1)
            counters["diffs_duplicated"] += 1
            return 2
        return 1

    def _break_connections(self, seconds: float) -> None:
        switches, rng = self._exchange.switches, self._exchange.rng
        for connection in list(self.connections):
            if switches.stream_drop_rate and rng.random() < switches.stream_drop_rate * seconds:
                self._exchange.counters["connections_dropped"] += 1
                connection.cut()
            elif switches.stream_silence_rate and not connection.is_silent:
                is_silent = rng.random() < switches.stream_silence_rate * seconds
                self._exchange.counters["connections_silenced"] += is_silent
                connection.is_silent = is_silent

    def _revise(self, after_ms: int, until_ms: int) -> None:
        """Choose minutes that just closed for revision, and carry out what is due."""
        switches, rng = self._exchange.switches, self._exchange.rng
        boundary_ms = until_ms // MINUTE_MS * MINUTE_MS
        if switches.revision_rate and boundary_ms > after_ms:
            due_ms = boundary_ms + switches.revision_delay_ms
            for name in self._exchange.listings:
                if rng.random() < switches.revision_rate:
                    self._revisions.append((due_ms, name, boundary_ms - MINUTE_MS))
        due = [revision for revision in self._revisions if revision[0] <= until_ms]
        for revision in due:
            self._revisions.remove(revision)
            _, name, open_ms = revision
            if name in self._exchange.listings:
                self._exchange.listings[name].market.revise(open_ms)
                self._exchange.counters["minutes_revised"] += 1


def _topics_of(names: list[str], scale: int) -> list[Topic]:
    streams = [parse_stream(name) for name in names]
    return [(stream, scale) for stream in streams if stream]
