# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The newest candles of one symbol and timeframe, encoded: what ``/candles`` joins. Pure."""

from bisect import bisect_left

import msgspec

from marketdata.params import Order

# Different limits that are asked for at one time; each costs a copy of the window.
_MAX_JOINED = 4


class Window:
    """The newest candles of one symbol and timeframe, as encoded rows, oldest first.

    Args:
        rows: ``(open time in ms, row)``, ascending, without the running candle.
        is_whole: Whether nothing older exists.
    """

    def __init__(self, rows: list[tuple[int, bytes]], *, is_whole: bool) -> None:
        self._opens = [open_ms for open_ms, _ in rows]
        self._rows = [row for _, row in rows]
        self.is_whole = is_whole
        self._joined: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def last_open_ms(self) -> int:
        """Open time of the newest row, -1 if there is none."""
        return self._opens[-1] if self._opens else -1

    def put(self, open_ms: int, row: bytes) -> None:
        """Add a row at the end, or replace the one of the same candle; older ones are ignored."""
        if open_ms > self.last_open_ms:
            self._opens.append(open_ms)
            self._rows.append(row)
        else:
            index = bisect_left(self._opens, open_ms)
            if self._opens[index] != open_ms or self._rows[index] == row:
                return
            self._rows[index] = row
        self._joined.clear()

    def trim(self, length: int) -> None:
        """Forget the oldest rows beyond ``length``."""
        excess = len(self._rows) - length
        if excess > 0:
            del self._rows[:excess], self._opens[:excess]
            self.is_whole = False

    def drop_from(self, open_ms: int) -> None:
        """Forget the rows from ``open_ms`` on."""
        index = bisect_left(self._opens, open_ms)
        del self._opens[index:], self._rows[index:]

    def newest_first(self, count: int) -> list[bytes]:
        """Return the newest ``count`` rows, newest first."""
        return self._rows[: -count - 1 : -1] if count else []

    def joined(self, count: int) -> bytes:
        """Return the newest ``count`` rows, oldest first, with commas between."""
        if not count:
            return b""
        body = self._joined.get(count)
        if body is None:
            if len(self._joined) >= _MAX_JOINED:
                self._joined.clear()
            body = self._joined[count] = b",".join(self._rows[-count:])
        return body


class Recent(msgspec.Struct, frozen=True):
    """What the board knows of the newest candles.

    Attributes:
        window: The rows before the running candle.
        running: The newest candle's row, ``None`` if the window has that, too.
        version: Another number after every change.
    """

    window: Window
    running: bytes | None
    version: int

    def covers(self, limit: int) -> bool:
        """Return whether the newest ``limit`` candles are all here."""
        have = len(self.window) + (self.running is not None)
        return self.window.is_whole or have >= limit

    def body(self, limit: int, order: Order) -> bytes:
        """Return the newest ``limit`` candles, or as many as there are, as a JSON array."""
        count = limit - (self.running is not None)
        running = [self.running] if self.running is not None else []
        if order == "desc":
            return b"[%b]" % b",".join(running + self.window.newest_first(count))
        closed = self.window.joined(min(count, len(self.window)))
        return b"[%b]" % b",".join([closed] * bool(closed) + running)
