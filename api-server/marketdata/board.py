# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The newest state of every symbol, in memory: running candles, recent rows, order books. Pure.

The relay keeps it up to date; REST and WebSockets answer from it. What it holds of a symbol is
complete only while the relay hears every message (``live``): otherwise the database is asked, and
the board answers only where that is away, too.
"""

from collections import OrderedDict, deque

from linkora.market import Candle, OrderBook
from linkora.messages import TradeMessage, TradesMessage
from linkora.timeframes import TIMEFRAMES, Timeframe
from marketdata.aggregation import Changes, Ladder, Stale
from marketdata.params import MAX_TRADES
from marketdata.windows import Recent, Window
from marketdata.wire import candle_row

Key = tuple[str, str]


class Board:
    """The newest state of everything.

    Attributes:
        symbols: The known symbols in alphabetical order.
        live: The symbols of whose candles everything has been heard.
        is_connected: Whether news of candles arrive at all.
        are_books_live: Whether every news of order books has been heard.

    Args:
        max_windows: How many (symbol, timeframe) windows are kept.
        max_rows: How many rows of each are kept.
    """

    def __init__(self, max_windows: int, max_rows: int) -> None:
        self.ladders: dict[str, Ladder] = {}
        self.books: dict[str, OrderBook] = {}
        self.trades: dict[str, deque[TradeMessage]] = {}
        self.symbols: list[str] = []
        self.live: set[str] = set()
        self.is_connected = False
        self.are_books_live = False
        self._max_rows = max_rows
        self._max_windows = max_windows
        self._windows: OrderedDict[Key, Window] = OrderedDict()
        self._versions: dict[str, int] = {}
        self._version = 0

    def version(self, symbol: str) -> int:
        """Return a number that changes with all that is learnt about the symbol's candles."""
        return self._versions.get(symbol, 0)

    def seed(self, symbol: str, ladder: Ladder) -> None:
        """Begin anew with what the database says."""
        old = self.ladders.get(symbol)
        if old is not None:
            ladder.continue_from(old)
        self.ladders[symbol] = ladder
        for key in [key for key in self._windows if key[0] == symbol]:
            del self._windows[key]
        self._changed(symbol)

    def apply(self, minute: Candle, now_ms: int) -> Changes | Stale:
        """Take in a one-minute candle; see ``Ladder.apply``."""
        ladder = self.ladders.get(minute.symbol)
        if ladder is None:
            return Stale()
        before_ms = ladder.newest_ms
        result = ladder.apply(minute, now_ms)
        if isinstance(result, Stale):
            return result
        if result.states or result.finals:
            self._changed(minute.symbol)
            self._keep_finals(minute.symbol, result.finals)
            if ladder.newest_ms > before_ms:
                self._roll_over(minute.symbol, ladder, before_ms, now_ms)
        return result

    def tick(self, now_ms: int) -> list[tuple[str, Timeframe, Candle]]:
        """Return the buckets of all symbols that have ended by the clock alone."""
        ended: list[tuple[str, Timeframe, Candle]] = []
        for symbol, ladder in self.ladders.items():
            finals = ladder.tick(now_ms)
            if finals:
                self._changed(symbol)
                self._keep_finals(symbol, tuple(finals))
                ended += [(symbol, frame, candle) for frame, candle in finals]
        return ended

    def running(self, symbol: str, frame: Timeframe, now_ms: int) -> Candle | None:
        """Return the newest candle of ``frame``, ``None`` if none is known."""
        ladder = self.ladders.get(symbol)
        return ladder.newest(frame, now_ms) if ladder else None

    def take_book(self, book: OrderBook) -> bool:
        """Keep ``book`` and return true, unless a newer one is known."""
        known = self.books.get(book.symbol)
        if known is not None and book.timestamp_ms < known.timestamp_ms:
            return False
        self.books[book.symbol] = book
        return True

    def take_trades(self, message: TradesMessage) -> None:
        """Take in trades of one symbol; the oldest make room.

        The exchange numbers trades without a hole: those before one are forgotten, so that memory
        has no list in which some are missing. Redis' own list, which is told while Redis is there,
        may have holes.
        """
        kept = self.trades.setdefault(message.symbol, deque(maxlen=MAX_TRADES))
        for trade in message.trades:
            if kept and trade.id != kept[-1].id + 1:
                kept.clear()
            kept.append(trade)

    def newest_pair(self, symbol: str, frame: Timeframe, now_ms: int) -> list[Candle]:
        """Return the bucket before the newest, if there is one, and the newest, if there is."""
        ladder = self.ladders.get(symbol)
        if ladder is None:
            return []
        pair = (ladder.previous(frame, now_ms), ladder.newest(frame, now_ms))
        return [candle for candle in pair if candle is not None]

    def recent(self, symbol: str, frame: Timeframe, now_ms: int) -> Recent | None:
        """Return the newest candles of ``frame``, ``None`` if they have not been loaded."""
        window = self._windows.get((symbol, frame.name))
        if window is None:
            return None
        self._windows.move_to_end((symbol, frame.name))
        running = self.running(symbol, frame, now_ms)
        is_next = running is not None and self._follows(symbol, frame, window, running)
        return Recent(
            window=window,
            running=candle_row(running) if running is not None and is_next else None,
            version=self.version(symbol),
        )

    def load(self, symbol: str, frame: Timeframe, window: Window, now_ms: int) -> bool:
        """Keep a window that was read from the database while news arrived.

        Returns:
            False if the window does not reach up to what is known here: it is not kept.
        """
        ladder = self.ladders.get(symbol)
        if symbol not in self.live or ladder is None:
            return False
        previous, newest = ladder.previous(frame, now_ms), ladder.newest(frame, now_ms)
        if previous is not None:
            if window.last_open_ms < frame.open_ms(previous.open_time_ms - 1):
                return False
            window.put(previous.open_time_ms, candle_row(previous))
        if newest is not None:
            window.drop_from(newest.open_time_ms)
            if newest.is_closed:
                window.put(newest.open_time_ms, candle_row(newest))
        self._windows[symbol, frame.name] = window
        self._windows.move_to_end((symbol, frame.name))
        while len(self._windows) > self._max_windows:
            self._windows.popitem(last=False)
        return True

    def _follows(self, symbol: str, frame: Timeframe, window: Window, running: Candle) -> bool:
        last_ms = window.last_open_ms
        if symbol in self.live or not len(window):
            return running.open_time_ms > last_ms
        # Windows stand still meanwhile, so that they never have a hole inside.
        return running.open_time_ms == frame.next_open_ms(last_ms)

    def _keep_finals(self, symbol: str, finals: tuple[tuple[Timeframe, Candle], ...]) -> None:
        if symbol not in self.live:
            return
        for frame, candle in finals:
            window = self._windows.get((symbol, frame.name))
            if window is not None:
                window.put(candle.open_time_ms, candle_row(candle))
                window.trim(self._max_rows)

    def _roll_over(self, symbol: str, ladder: Ladder, before_ms: int, now_ms: int) -> None:
        """Put the bucket that was the newest into its window, closed or not."""
        if symbol not in self.live:
            return
        for (name, frame_name), window in list(self._windows.items()):
            if name != symbol:
                continue
            frame = TIMEFRAMES[frame_name]
            old_ms, new_ms = frame.open_ms(before_ms), frame.open_ms(ladder.newest_ms)
            if old_ms == new_ms:
                continue
            candle = ladder.candle(frame, old_ms, now_ms)
            if candle is None:
                del self._windows[name, frame_name]  # so far back that minutes were let go
            else:
                window.put(old_ms, candle_row(candle))
                window.trim(self._max_rows)

    def _changed(self, symbol: str) -> None:
        self._version += 1
        self._versions[symbol] = self._version
