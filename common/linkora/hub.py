# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Topics, the clients that follow them, and the mailbox of each client. Pure: no clock, no I/O.

A publisher hands a topic its newest state; every follower is offered the same encoded bytes. Two
kinds of news exist. A *state* replaces the one before it (an open candle, an order book) and may
be conflated: a follower that asked for one state per ``interval_ms`` gets the newest of them when
the interval is over. A *final* (a closing, a correction, an order's event) is delivered at once
and never replaced.

Nothing here waits for a client. ``Follower.offer`` must return at once; what its connection cannot
take goes into its ``Mailbox``, which is bounded.
"""

from collections.abc import Callable, Hashable
from typing import Protocol

import msgspec

_SHORT, _LONG = 126, 1 << 16
_FIN_TEXT = 0x81


class Frame:
    """One message, encoded once for all its receivers.

    Attributes:
        payload: The text, UTF-8.
        wire: The same as one unmasked WebSocket text frame (RFC 6455, section 5.2).
    """

    __slots__ = ("payload", "wire")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.wire = _header(len(payload)) + payload


def _ping() -> Frame:
    frame = Frame(b"")
    frame.wire = b"\x89\x00"
    return frame


def _header(length: int) -> bytes:
    if length < _SHORT:
        return bytes((_FIN_TEXT, length))
    if length < _LONG:
        return bytes((_FIN_TEXT, 126)) + length.to_bytes(2, "big")
    return bytes((_FIN_TEXT, 127)) + length.to_bytes(8, "big")


PING = _ping()
"""The protocol's ping (RFC 6455, section 5.5.2), without a payload."""


class _FinalKey:
    """A key that nothing else equals."""

    __slots__ = ()


class Mailbox:
    """Frames that wait for one slow client: the newest state of each key, and every final.

    Args:
        limit: The most frames that wait; more than that and the client is too slow.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: dict[Hashable, Frame] = {}
        self.conflated = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: Frame, key: Hashable | None) -> bool:
        """Keep ``frame``, in the place of an older state with the same ``key``.

        Args:
            frame: What waits.
            key: What it is a state of; ``None`` for a final, which nothing replaces.

        Returns:
            False if the box held its limit already: the frame is not kept.
        """
        if key is None:
            key = _FinalKey()
        elif self._frames.pop(key, None) is not None:
            self.conflated += 1  # put at the end again, so that no news overtakes older news
        if len(self._frames) >= self._limit:
            return False
        self._frames[key] = frame
        return True

    def take_all(self) -> list[tuple[Hashable | None, Frame]]:
        """Return what waits with its keys, oldest first, and leave the box empty."""
        kept = list(self._frames.items())
        self._frames.clear()
        return [(None if type(key) is _FinalKey else key, frame) for key, frame in kept]


class Follower(Protocol):
    """One client of a topic. Compared by identity."""

    def offer(self, frame: Frame, key: Hashable | None) -> None:
        """Send or keep ``frame``; never wait, never fail. ``key`` as in ``Mailbox.put``."""


Source = Callable[[], Frame | None]


class _Group(msgspec.Struct):
    """The followers of one topic that asked for the same interval."""

    followers: dict[Follower, None] = {}
    last_ms: dict[Hashable, int] = {}
    pending: dict[Hashable, Source] = {}


class Hub:
    """Who follows what. Topics are any hashable values; an unknown topic just has no followers."""

    def __init__(self) -> None:
        self._topics: dict[Hashable, dict[int, _Group]] = {}
        self._waiting: dict[tuple[Hashable, int], _Group] = {}

    def join(self, topic: Hashable, follower: Follower, interval_ms: int = 0) -> None:
        """Let ``follower`` hear of ``topic``, open states at most every ``interval_ms``."""
        self.leave(topic, follower)
        groups = self._topics.setdefault(topic, {})
        groups.setdefault(interval_ms, _Group()).followers[follower] = None

    def leave(self, topic: Hashable, follower: Follower) -> None:
        """Undo ``join``; nothing happens if there is nothing to undo."""
        groups = self._topics.get(topic, {})
        for interval_ms, group in list(groups.items()):
            if follower in group.followers:
                del group.followers[follower]
                if not group.followers:
                    del groups[interval_ms]
                    self._waiting.pop((topic, interval_ms), None)
        if not groups:
            self._topics.pop(topic, None)

    def has_followers(self, topic: Hashable) -> bool:
        """Return whether anyone follows ``topic``."""
        return topic in self._topics

    def count(self) -> dict[Hashable, int]:
        """Return the number of followers of each topic that has any."""
        return {
            topic: sum(len(group.followers) for group in groups.values())
            for topic, groups in self._topics.items()
        }

    def publish_state(self, topic: Hashable, key: Hashable, source: Source, now_ms: int) -> None:
        """Tell the followers of ``topic`` a new state, each group when its interval is over.

        Args:
            topic: Whom to tell.
            key: What it is a state of: a later state with the same key replaces this one.
            source: Encodes the newest state when it is needed; called at most once a group, so
                it should remember its answer. ``None`` from it means there is nothing to tell.
            now_ms: The present, ms on any clock that only goes forward.
        """
        for interval_ms, group in self._topics.get(topic, {}).items():
            last_ms = group.last_ms.get(key)
            if last_ms is None or now_ms - last_ms >= interval_ms:
                group.pending.pop(key, None)
                _tell(group, key, source, now_ms)
            else:
                group.pending[key] = source
                self._waiting[topic, interval_ms] = group

    def publish_final(self, topic: Hashable, frame: Frame) -> None:
        """Tell the followers of ``topic`` something that no later news replaces, at once."""
        for group in self._topics.get(topic, {}).values():
            for follower in group.followers:
                follower.offer(frame, None)

    def flush(self, now_ms: int) -> None:
        """Tell the states whose interval is over by now."""
        for (topic, interval_ms), group in list(self._waiting.items()):
            due = [k for k in group.pending if now_ms - group.last_ms.get(k, 0) >= interval_ms]
            for key in due:
                _tell(group, key, group.pending.pop(key), now_ms)
            if not group.pending:
                del self._waiting[topic, interval_ms]


def _tell(group: _Group, key: Hashable, source: Source, now_ms: int) -> None:
    group.last_ms[key] = now_ms
    frame = source()
    if frame is not None:
        for follower in group.followers:
            follower.offer(frame, key)
