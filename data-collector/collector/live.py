# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The candles of now: heard by stream, stored, then told; closes always, running states often."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial

import msgspec
import structlog

from collector.binance.forms import KlineRow
from collector.binance.wire import candle_of_row
from collector.closes import Closes
from collector.ports import CandleStore, News
from collector.surroundings import Surroundings
from collector.symbol_state import REST_LAG_MS, SymbolState
from linkora.errors import TransientError
from linkora.market import Candle, Trade
from linkora.timeframes import MINUTE_MS

log = structlog.get_logger(__name__)

SETTLING_MINUTES = 2


class LiveCandles:
    """Holds the newest minutes of every symbol; stores and tells the running ones.

    Attributes:
        from_ms: The first minute that is watched; those before are history's matter.
        closes: Where the closed ones go.
        unverified: Set when the last minutes of some symbols must be read again.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        store: CandleStore,
        news: News,
        around: Surroundings,
    ) -> None:
        self._store = store
        self._news = news
        self._around = around
        self._patience_ms = int(around.settings.close_patience_s * 1000)
        # The minutes just before may be on their way into the exchange's own history still.
        self.from_ms = around.clock.minute_ms() - SETTLING_MINUTES * MINUTE_MS
        self._states = {symbol: SymbolState(self.from_ms) for symbol in symbols}
        for gauge in (around.metrics.silence, around.metrics.stream_lag):
            gauge.clear()  # other collectors tell of what was ours before
        for symbol in symbols:
            silence = partial(self.silence_s, symbol)
            around.metrics.silence.labels(symbol).set_function(silence)
        self.closes = Closes(store=store, news=news, around=around)
        self.unverified = asyncio.Event()

    # What the exchange tells; nothing here waits.

    def on_kline(self, candle: Candle, last_trade_id: int | None, event_ms: int) -> None:
        """Take over a minute's state as the exchange tells it by stream."""
        state = self._states.get(candle.symbol)
        if state is None:
            return
        state.heard_at = time.monotonic()
        self._around.metrics.stream_lag.labels(candle.symbol).set(
            (self._around.clock.now_ms() - event_ms) / 1000
        )
        self._take(state, candle, last_trade_id, is_row=False)

    def on_trade(self, trade: Trade) -> None:
        """Add one trade to its symbol's running minute."""
        if state := self._states.get(trade.symbol):
            state.running.apply_trade(trade)

    def on_connected(self, symbols: Sequence[str]) -> None:
        """Have the last minutes of these symbols read again: a break may have cost some."""
        for symbol in symbols:
            if state := self._states.get(symbol):
                state.is_verified = False
        self.unverified.set()

    def on_rows(
        self, symbol: str, rows: Sequence[KlineRow], *, asked_ms: int, with_running: bool
    ) -> bool:
        """Take over rows of REST: final ones as closes or corrections.

        A row is final once its time is over and the same answer shows something later: the view
        that REST gives may lag, and then the last row is a minute that still ran.

        Args:
            symbol: Whose rows they are.
            rows: Rows of a klines answer, ascending.
            asked_ms: The exchange's time when they were asked for: what closed later than that
                was not final.
            with_running: Whether the running minute's row counts: only where no stream tells
                of it, which is newer and exact to the trade.

        Returns:
            False if the answer lags behind what is known: a later one will tell more.
        """
        state = self._states[symbol]
        newest_ms = rows[-1].minute_ms if rows else -1
        has_caught_up = state.expected_ms(asked_ms, self._patience_ms) <= newest_ms
        for row in _one_a_minute(row for row in rows if row.minute_ms >= self.from_ms):
            is_over = row.close_time_ms < asked_ms
            is_lag_over = asked_ms - row.close_time_ms >= REST_LAG_MS
            is_final = is_over and (row.minute_ms < newest_ms or is_lag_over)
            if state.frontier.is_known(row.minute_ms):
                if is_over:
                    told = candle_of_row(symbol, row, is_closed=True)
                    has_caught_up &= self._compare(state, told, asked_ms, is_final=is_final)
                continue
            has_caught_up &= is_final == is_over
            if is_final or with_running:
                # What REST says corrects what is stored, even if it is the first that this
                # process hears of the minute: an earlier one may have stored it before.
                candle = candle_of_row(symbol, row, is_closed=is_final)
                self._take(state, candle, None, is_row=True)
        return has_caught_up

    def account_for(self, symbol: str, opens_ms: Iterable[int]) -> None:
        """Stop waiting for minutes that have gone into the ledger of gaps."""
        for open_ms in opens_ms:
            self._states[symbol].frontier.close(open_ms)

    def _take(
        self, state: SymbolState, candle: Candle, last_trade_id: int | None, *, is_row: bool
    ) -> None:
        state.running.apply_kline(candle, last_trade_id)
        if candle.is_closed and not state.frontier.is_known(candle.open_time_ms):
            state.frontier.close(candle.open_time_ms)
            state.remember(candle)
            self.closes.add(candle, is_row=is_row)

    def _compare(
        self, state: SymbolState, candle: Candle, asked_ms: int, *, is_final: bool
    ) -> bool:
        """Have a final row that differs from the known close stored as a correction.

        Returns:
            False if the row differs and may do so only because REST has not caught up yet.
        """
        known = state.closed.get(candle.open_time_ms)
        if known is not None and _same_values(known, candle):
            return True
        age_ms = asked_ms - candle.close_time_ms
        tells_less = known is not None and candle.trades < known.trades and age_ms < REST_LAG_MS
        if tells_less or not is_final:
            return False
        state.remember(candle)
        self.closes.add(candle, is_row=True)
        return True

    # What is asked.

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that are collected."""
        return tuple(self._states)

    def silence_s(self, symbol: str) -> float:
        """Return the seconds since the symbol's last kline event."""
        return time.monotonic() - self._states[symbol].heard_at

    def is_known(self, symbol: str, open_ms: int) -> bool:
        """Return whether the close of that minute is known, or accounted for."""
        return self._states[symbol].frontier.is_known(open_ms)

    def overdue(self) -> list[str]:
        """Return the symbols some of whose closes have not come in time."""
        return [symbol for symbol in self._states if self.overdue_minutes(symbol)]

    def overdue_minutes(self, symbol: str) -> tuple[int, int] | None:
        """Return the first and last open of the minutes whose close has not come in time."""
        now_ms = self._around.clock.now_ms()
        return self._states[symbol].frontier.overdue(now_ms, self._patience_ms)

    def take_unverified(self) -> list[str]:
        """Return the symbols whose last minutes must be read again; they count as read."""
        self.unverified.clear()
        symbols = [s for s, state in self._states.items() if not state.is_verified]
        for symbol in symbols:
            self._states[symbol].is_verified = True
        return symbols

    # The loops.

    async def tell_running(self) -> None:
        """Publish the running minutes that have changed, every REALTIME_INTERVAL."""
        async for changed in self._changes(self._around.settings.realtime_interval, "told"):
            await self._news.candles(changed)

    async def store_running(self) -> None:
        """Write the running minutes that have changed, every CANDLE_WRITE_INTERVAL."""
        async for changed in self._changes(self._around.settings.candle_write_interval, "stored"):
            try:
                with self._around.metrics.write_seconds.labels("running").time():
                    stored = await self._store.store_states(changed)
            except TransientError as error:
                self._around.lost("database", error)
            else:
                self._around.found("database")
                self._around.metrics.candles_stored.labels("running").inc(len(stored))

    async def _changes(self, interval_s: float, mark: str) -> AsyncIterator[list[Candle]]:
        """Yield the running candles that have changed since their last ``mark``, if any."""
        while True:
            await asyncio.sleep(interval_s)
            changed = []
            for state in self._states.values():
                candle = state.running.candle
                if candle is not None and candle is not getattr(state, mark):
                    setattr(state, mark, candle)
                    changed.append(candle)
            if changed:
                yield changed


def _one_a_minute(rows: Iterable[KlineRow]) -> Iterator[KlineRow]:
    """Yield the first row of each minute: as in the store, the earlier one stays."""
    last_ms = -1
    for row in rows:
        if row.minute_ms != last_ms:
            yield row
        last_ms = row.minute_ms


def _same_values(one: Candle, other: Candle) -> bool:
    """Return whether both say the same of the minute, whoever said it."""
    return one == msgspec.structs.replace(other, revision=one.revision)
