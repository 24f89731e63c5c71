# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Binance's streams of 24-hour tickers: every second what has changed, of one symbol or of all."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol

from linkora.errors import TransientError
from linkora.hub import Hub
from linkora.sockets import encode
from marketdata.binance_names import ALL_PACES, TICKERS, StreamTopic
from marketdata.binance_tickers import Day, ticker_event
from marketdata.board import Board

INTERVAL_S = 1.0
Payload = dict[str, Any]


class Days(Protocol):
    """What the newest days add up to."""

    async def newest(self) -> dict[str, Day]:
        """Return each symbol's newest 24 hours."""


class TickerStreams:
    """Tells tickers while anybody follows them; only then are they read."""

    def __init__(self, hub: Hub, board: Board, days: Days) -> None:
        self._hub = hub
        self._board = board
        self._days = days
        self._told: dict[StreamTopic, dict[str, Payload]] = {}

    async def keep(self) -> None:
        """Tell, for ever. While the database is away there is nothing new to tell."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            if not self._followed(self._board.symbols):
                self._told.clear()
                continue
            try:
                days = await self._days.newest()
            except TransientError:
                continue
            self._tell(days, time.time_ns() // 1_000_000)

    def _tell(self, days: Mapping[str, Day], now_ms: int) -> None:
        told: dict[StreamTopic, dict[str, Payload]] = {}
        for topic, kind, symbol in self._followed(list(days)):
            of_symbols = [symbol] if symbol else sorted(days)
            before = self._told.get(topic, {})
            told[topic] = {name: self._event(days[name], kind) for name in of_symbols}
            changed = [
                {**payload, "E": now_ms}
                for name, payload in told[topic].items()
                if payload != before.get(name)
            ]
            if changed:
                payload = changed[0] if symbol else changed
                whole = {"stream": topic.name, "data": payload} if topic.is_combined else payload
                self._hub.publish_final(topic, encode(whole))
        self._told = told

    def _event(self, day: Day, kind: str) -> Payload:
        book = self._board.books.get(day.symbol)
        return ticker_event(day, book, is_mini=kind == "miniTicker")

    def _followed(self, symbols: list[str]) -> list[tuple[StreamTopic, str, str]]:
        """Return the topics that are followed, with their kind and symbol (none: all)."""
        names = [(f"{name.lower()}@{kind}", kind, name) for kind in TICKERS for name in symbols]
        names += [(f"!{kind}@arr{pace}", kind, "") for kind in TICKERS for pace in ALL_PACES]
        return [
            (topic, kind, symbol)
            for name, kind, symbol in names
            for topic in (StreamTopic(name, is_combined=False), StreamTopic(name, is_combined=True))
            if self._hub.has_followers(topic)
        ]
