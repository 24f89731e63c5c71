# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The exchange inside a test: started in the test's own event loop, on a free port."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from simulator import control, wire
from simulator.book import Book
from simulator.history import find_klines
from simulator.intervals import INTERVALS
from simulator.server import Server
from simulator.settings import Settings
from simulator.trades import Trades

ALL_ROWS = 1_000_000


class RunningExchange:
    """A running exchange and the truth behind what it says.

    Attributes:
        rest_url: Such as ``http://127.0.0.1:40123``.
        ws_url: Such as ``ws://127.0.0.1:40123``.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.rest_url = f"http://127.0.0.1:{server.port}"
        self.ws_url = f"ws://127.0.0.1:{server.port}"

    @property
    def counters(self) -> dict[str, int]:
        """What has been served and done so far, by name; 0 for what has not happened."""
        return self._server.exchange.counters

    def now_ms(self) -> int:
        """Return the exchange's time, Unix ms."""
        return self._server.exchange.now_ms()

    def set_now(self, now_ms: int) -> None:
        """Set the exchange's clock."""
        offset_ms = self._server.exchange.switches.clock_offset_ms
        self.control(clock_offset_ms=offset_ms + now_ms - self.now_ms())

    def control(self, **switches: object) -> None:
        """Set switches, as ``POST /control`` does."""
        self._server.apply(control.ControlRequest(switches, []))

    def act(self, action: str, **fields: object) -> None:
        """Carry out an action, as ``POST /control`` does: ``act("ban", seconds=5)``."""
        self._server.apply(
            control.ControlRequest(
                {}, [msgspec.convert({"action": action, **fields}, control.Action)]
            )
        )

    def report(self) -> dict[str, Any]:
        """Return what ``GET /control`` tells."""
        return self._server.report()

    def truth_klines(
        self, symbol: str, start_ms: int, end_ms: int, interval: str = "1m"
    ) -> list[list[Any]]:
        """Return the klines that open in [start, end], as rows of ``/api/v3/klines``.

        Nothing lags and nothing is limited: it is what the exchange would say at this moment.
        """
        market = self._server.exchange.listings[symbol].market
        width = INTERVALS[interval]
        count = min(ALL_ROWS, (end_ms - start_ms) // min(width.width_ms, 2_419_200_000) + 2)
        rows = find_klines(market, width, start_ms, end_ms, max(1, count), self.now_ms())
        return json.loads(wire.kline_rows(market.symbol, rows))  # type: ignore[no-any-return]

    def truth_trades(self, symbol: str, start_ms: int, end_ms: int) -> Trades:
        """Return the trades of [start, end), prices in ticks and amounts in lots."""
        return self._server.exchange.listings[symbol].market.trades(start_ms, end_ms)

    def truth_book(self, symbol: str, time_ms: int, depth: int = 20) -> Book | None:
        """Return the book at that moment, prices in ticks and quantities in lots."""
        return self._server.exchange.listings[symbol].book.book(time_ms, depth)


@asynccontextmanager
async def running_exchange(
    *, now_ms: int | None = None, **settings: Any
) -> AsyncIterator[RunningExchange]:
    """Run an exchange on a free port of 127.0.0.1 until the block ends.

    Args:
        now_ms: What the exchange's clock shows at the start, instead of the machine's time; with
            it a test can begin three seconds before a minute closes.
        settings: Any of ``Settings`` and ``Switches``, by name.
    """
    async with Server(Settings(**{"port": 0, **settings})) as server:
        exchange = RunningExchange(server)
        if now_ms is not None:
            exchange.set_now(now_ms)
        yield exchange
