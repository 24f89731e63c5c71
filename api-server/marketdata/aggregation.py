# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The running candles of every timeframe, made of one-minute candles. Pure.

A minute that arrives replaces what was known of it; nothing is ever added twice. What is kept is
enough to make the current and the previous bucket of each timeframe: some two hours of minutes,
two days of hours, two months of days. A change further back cannot be made good here: ``apply``
says so, and the caller reads the database again.
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from linkora.market import Candle
from linkora.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, TIMEFRAMES, Timeframe

_ZERO = Decimal(0)
_HOUR, _DAY = TIMEFRAMES["1H"], TIMEFRAMES["1D"]
# The candles that a timeframe is made of here, as the rollup tables are.
_PARENT_WIDTH_MS = {None: MINUTE_MS, "1": MINUTE_MS, "1H": HOUR_MS, "1D": DAY_MS}


class Horizon(msgspec.Struct, frozen=True):
    """From which open time on minutes, hours and days are needed, Unix ms."""

    minutes_ms: int
    hours_ms: int
    days_ms: int


def horizon(newest_ms: int) -> Horizon:
    """Return what the current and previous buckets at ``newest_ms`` are made of."""

    def previous(name: str) -> int:
        frame = TIMEFRAMES[name]
        return frame.open_ms(frame.open_ms(newest_ms) - 1)

    return Horizon(
        minutes_ms=_HOUR.open_ms(min(previous("45"), previous("1H"))),
        hours_ms=previous("1D"),
        days_ms=min(previous("1W"), previous("1M")),
    )


class Changes(msgspec.Struct, frozen=True):
    """What one minute did.

    Attributes:
        states: Timeframes whose newest bucket is another now, and still open.
        finals: Buckets that closed, or were closed and have been corrected.
    """

    states: tuple[Timeframe, ...] = ()
    finals: tuple[tuple[Timeframe, Candle], ...] = ()


class Stale(msgspec.Struct, frozen=True):
    """The minute is older than what is kept here: read the database again."""


_NOTHING = Changes()


class Ladder:
    """One symbol's minutes, hours and days, and the buckets made of them.

    Args:
        minutes: One-minute candles from the horizon on, any order.
        hours: One-hour candles likewise; the ones that ``minutes`` cover are made anew.
        days: One-day candles likewise.
        frames: The timeframes whose changes are told.
    """

    def __init__(
        self,
        minutes: Iterable[Candle],
        hours: Iterable[Candle],
        days: Iterable[Candle],
        frames: Iterable[Timeframe] = tuple(TIMEFRAMES.values()),
    ) -> None:
        self._frames = tuple(frames)
        self._minutes = {candle.open_time_ms: candle for candle in minutes}
        self._hours = {candle.open_time_ms: candle for candle in hours}
        self._days = {candle.open_time_ms: candle for candle in days}
        self._newest_ms = max(self._minutes, default=-1)
        self._horizon = horizon(max(self._newest_ms, 0))
        self._changed_hours: set[int] = {_HOUR.open_ms(open_ms) for open_ms in self._minutes}
        self._ticked_ms = -1

    @property
    def newest_ms(self) -> int:
        """Open time of the newest minute, -1 if there is none."""
        return self._newest_ms

    @property
    def newest_minute(self) -> Candle | None:
        """The newest one-minute candle."""
        return self._minutes.get(self._newest_ms)

    def continue_from(self, old: "Ladder") -> None:
        """Tick on where ``old`` stopped, so that no end of a bucket falls between the two."""
        self._ticked_ms = old._ticked_ms

    def apply(self, minute: Candle, now_ms: int) -> Changes | Stale:
        """Put ``minute`` in the place of what was known of it.

        Args:
            minute: The whole state of a one-minute candle so far.
            now_ms: The present, Unix ms.

        Returns:
            What changed; nothing for a message that tells less than is known already.
        """
        open_ms = minute.open_time_ms
        if self._newest_ms < 0 or open_ms < self._horizon.minutes_ms:
            return Stale()
        known = self._minutes.get(open_ms)
        if known is not None and not _is_news(known, minute):
            return _NOTHING
        self._minutes[open_ms] = minute
        self._changed_hours.add(_HOUR.open_ms(open_ms))
        if open_ms > self._newest_ms:
            self._advance(open_ms)
        return self._changes(minute, now_ms)

    def tick(self, now_ms: int) -> list[tuple[Timeframe, Candle]]:
        """Return the newest buckets that ended since the last tick without a last minute.

        That is how a bucket ends in an outage of the exchange: by the grid, without news.
        """
        since_ms, self._ticked_ms = self._ticked_ms, now_ms
        if since_ms < 0 or self._newest_ms < 0:
            return []
        ended: list[tuple[Timeframe, Candle]] = []
        for frame in self._frames:
            end_ms = frame.next_open_ms(frame.open_ms(self._newest_ms))
            if since_ms < end_ms <= now_ms and self._newest_ms + MINUTE_MS < end_ms:
                candle = self.newest(frame, now_ms)
                if candle is not None and candle.is_closed:
                    ended.append((frame, candle))
        return ended

    def newest(self, frame: Timeframe, now_ms: int) -> Candle | None:
        """Return the newest bucket of ``frame``, ``None`` if nothing is known."""
        if self._newest_ms < 0:
            return None
        return self.candle(frame, frame.open_ms(self._newest_ms), now_ms)

    def previous(self, frame: Timeframe, now_ms: int) -> Candle | None:
        """Return the bucket right before the newest, ``None`` if it is not there."""
        if self._newest_ms < 0:
            return None
        return self.candle(frame, frame.open_ms(frame.open_ms(self._newest_ms) - 1), now_ms)

    def candle(self, frame: Timeframe, open_ms: int, now_ms: int) -> Candle | None:
        """Return the bucket of ``frame`` that opens at ``open_ms``, as far as it is known."""
        if frame.parent is None:
            return self._minutes.get(open_ms)
        self._refresh()
        parents = {"1": self._minutes, "1H": self._hours, "1D": self._days}[frame.parent]
        end_ms = frame.next_open_ms(open_ms)
        width_ms = _PARENT_WIDTH_MS[frame.parent]
        parts = [parents[t] for t in range(open_ms, end_ms, width_ms) if t in parents]
        if not parts:
            return None
        return combine(parts, frame, is_over=now_ms >= end_ms or self._has_last(open_ms, end_ms))

    def _changes(self, minute: Candle, now_ms: int) -> Changes:
        states: list[Timeframe] = []
        finals: list[tuple[Timeframe, Candle]] = []
        for frame in self._frames:
            bucket_ms = frame.open_ms(minute.open_time_ms)
            end_ms = frame.next_open_ms(bucket_ms)
            is_last = minute.open_time_ms + MINUTE_MS == end_ms
            if minute.is_closed and (is_last or now_ms >= end_ms):
                candle = self.candle(frame, bucket_ms, now_ms)
                if candle is not None and candle.is_closed:
                    finals.append((frame, candle))
                    continue
            if bucket_ms == frame.open_ms(self._newest_ms):
                states.append(frame)
        return Changes(tuple(states), tuple(finals))

    def _has_last(self, open_ms: int, end_ms: int) -> bool:
        """True if the bucket's last minute is known as closed, or something after it is."""
        last = self._minutes.get(end_ms - MINUTE_MS)
        return self._newest_ms >= end_ms or (last is not None and last.is_closed)

    def _refresh(self) -> None:
        """Make the hours and days anew whose minutes have changed."""
        changed_days = set()
        for hour_ms in self._changed_hours:
            parts = [
                self._minutes[t]
                for t in range(hour_ms, hour_ms + HOUR_MS, MINUTE_MS)
                if t in self._minutes
            ]
            if parts:
                self._hours[hour_ms] = combine(parts, _HOUR, is_over=True)
                changed_days.add(_DAY.open_ms(hour_ms))
        self._changed_hours.clear()
        for day_ms in changed_days:
            parts = [
                self._hours[t] for t in range(day_ms, day_ms + DAY_MS, HOUR_MS) if t in self._hours
            ]
            self._days[day_ms] = combine(parts, _DAY, is_over=True)

    def _advance(self, open_ms: int) -> None:
        self._newest_ms = open_ms
        wanted = horizon(open_ms)
        if wanted == self._horizon:
            return
        self._refresh()  # while the minutes are still there
        self._horizon = wanted
        self._minutes = {t: c for t, c in self._minutes.items() if t >= wanted.minutes_ms}
        self._hours = {t: c for t, c in self._hours.items() if t >= wanted.hours_ms}
        self._days = {t: c for t, c in self._days.items() if t >= wanted.days_ms}


def combine(parts: list[Candle], frame: Timeframe, *, is_over: bool) -> Candle:
    """Return the candle of ``frame`` that ``parts``, in order of time, make up.

    Args:
        parts: At least one candle, all of them in one bucket of ``frame``.
        frame: The width of the result.
        is_over: Whether the bucket's time is over; it is closed if its parts are, too.
    """
    first, last = parts[0], parts[-1]
    open_ms = frame.open_ms(first.open_time_ms)
    return Candle(
        symbol=first.symbol,
        open_time_ms=open_ms,
        close_time_ms=frame.close_ms(open_ms),
        open=first.open,
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        close=last.close,
        volume=sum((part.volume for part in parts), _ZERO),
        quote_volume=sum((part.quote_volume for part in parts), _ZERO),
        trades=sum(part.trades for part in parts),
        taker_buy_volume=sum((part.taker_buy_volume for part in parts), _ZERO),
        taker_buy_quote_volume=sum((part.taker_buy_quote_volume for part in parts), _ZERO),
        is_closed=is_over and all(part.is_closed for part in parts),
        revision=sum(part.revision for part in parts),
    )


def _is_news(known: Candle, minute: Candle) -> bool:
    """Return whether ``minute`` tells more than ``known``, of the same minute.

    After the database has been read, messages may still arrive that are older than what was read.
    """
    if known.is_closed != minute.is_closed:
        return minute.is_closed
    if known.is_closed:
        return minute.revision > known.revision
    return minute.trades >= known.trades and minute != known
