# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Where stream messages go: decoded once, then to the candles and to the books."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from collector.binance.forms import Depth, DiffEvent, Envelope, KlineEvent, TradeEvent
from collector.binance.wire import candle_of_event, decode, number
from collector.surroundings import Surroundings
from linkora.errors import CorruptMessage, TransientError
from linkora.market import Candle, Trade

log = structlog.get_logger(__name__)

SHUTDOWN_STREAM = "!serverShutdown"
PARTIAL_LEVELS = (5, 10, 20)


class CandleListener(Protocol):
    """Who hears klines and trades."""

    def on_kline(self, candle: Candle, last_trade_id: int, event_ms: int) -> None: ...  # noqa: D102
    def on_trade(self, trade: Trade) -> None: ...  # noqa: D102
    def on_connected(self, symbols: Sequence[str]) -> None: ...  # noqa: D102


class TradeListener(Protocol):
    """Who hears the trades alone."""

    def on_trade(self, trade: Trade) -> None: ...  # noqa: D102


class BookListener(Protocol):
    """Who hears the order book."""

    def on_depth(self, symbol: str, depth: Depth) -> None: ...  # noqa: D102
    def on_diff(self, event: DiffEvent) -> None: ...  # noqa: D102
    def on_lost(self, symbols: Sequence[str]) -> None: ...  # noqa: D102


def stream_names(symbol: str, book_levels: int, book_interval_s: float) -> list[str]:
    """Return the streams that one symbol needs: klines, trades and its book.

    Up to 20 levels come as partial depth, which cannot lose its place; more levels need the
    differences on top of a snapshot. Both come every second, or ten times a second where books
    are told more often than every second.
    """
    name = symbol.lower()
    partial = next((levels for levels in PARTIAL_LEVELS if book_levels <= levels), None)
    depth = f"{name}@depth{partial or ''}{'@100ms' if book_interval_s < 1 else ''}"
    return [f"{name}@kline_1m", f"{name}@trade", depth]


class Feed:
    """Decodes the messages of the combined streams and hands them on. Implements ``StreamSink``."""

    def __init__(
        self,
        candles: CandleListener,
        books: BookListener,
        tape: TradeListener,
        around: Surroundings,
    ) -> None:
        self._candles = candles
        self._books = books
        self._tape = tape
        self._around = around
        self._lost: dict[Sequence[str], str] = {}

    def on_message(self, text: str) -> bool:
        """Take one message; a broken one is counted and left out: the next says it all again."""
        try:
            return self._route(text)
        except CorruptMessage as error:
            self._around.metrics.corrupt_messages.inc()
            log.warning("message_not_understood", reason=str(error))
            return False

    def on_connected(self, symbols: Sequence[str]) -> None:
        """Note that these symbols are heard again."""
        self._lost.pop(symbols, None)
        self._around.metrics.stream_connects.inc()
        log.info("stream_connected", symbols=len(symbols))
        self._candles.on_connected(symbols)
        self._tell_state()

    def on_lost(self, symbols: Sequence[str], reason: str) -> None:
        """Note that these symbols are not heard."""
        if symbols not in self._lost:
            log.warning("stream_lost", symbols=len(symbols), reason=reason)
        self._lost[symbols] = reason
        self._books.on_lost(symbols)
        self._tell_state()

    def _tell_state(self) -> None:
        reason = next(iter(self._lost.values()), None)
        if reason is None:
            self._around.found("stream")
        else:
            self._around.lost("stream", TransientError(reason))

    def _route(self, text: str) -> bool:
        envelope = decode(Envelope, text)
        stream = envelope.stream
        if stream is None:
            return _is_refusal(text)
        symbol, _, kind = stream.partition("@")
        if kind.startswith("kline_1m"):
            event = decode(KlineEvent, envelope.data)
            self._candles.on_kline(candle_of_event(event), event.k.L, event.E)
            return self._is_late(event.E)
        if kind == "trade":
            trade = _trade(decode(TradeEvent, envelope.data))
            self._candles.on_trade(trade)
            self._tape.on_trade(trade)
        elif kind.startswith(("depth@", "depth")) and kind[5:6] in ("", "@"):
            self._books.on_diff(decode(DiffEvent, envelope.data))
        elif kind.startswith("depth"):
            self._books.on_depth(symbol.upper(), decode(Depth, envelope.data))
        elif stream == SHUTDOWN_STREAM:
            log.info("exchange_announced_shutdown")
            return True
        else:
            self._around.metrics.unknown_messages.inc()
        return False

    def _is_late(self, event_ms: int) -> bool:
        """Return whether the connection has fallen so far behind that a new one is better.

        After a stall the exchange sends everything that has piled up, and the lag never ends.
        """
        lag_s = (self._around.clock.now_ms() - event_ms) / 1000
        return lag_s > self._around.settings.stream_max_lag_s


def _is_refusal(text: str) -> bool:
    """Log an answer to a request of ours that is not a plain acknowledgement."""
    if '"result":null' not in text.replace(" ", ""):
        log.warning("stream_request_refused", answer=text[:200])
    return "serverShutdown" in text


def _trade(event: TradeEvent) -> Trade:
    return Trade(
        symbol=event.s,
        id=event.t,
        price=number(event.p),
        quantity=number(event.q),
        time_ms=event.T,
        is_buyer_maker=event.m,
    )
