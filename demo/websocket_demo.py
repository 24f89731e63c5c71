#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Candles of several timeframes side by side, over one WebSocket. Ctrl-C ends it."""

import asyncio
import time
from typing import Any

from connection import client_of, console, get, listen, parser, socket_url, start
from rich.live import Live
from rich.table import Table
from rich.text import Text

TIMEFRAMES = ("1", "3", "5", "15", "30", "45", "1H", "2H", "3H", "4H", "1D", "1W", "1M")
FIELDS = ("open", "high", "low", "close", "volume", "trades")


class Column:
    """What is known of one timeframe."""

    def __init__(self) -> None:
        self.candle: dict[str, Any] = {}
        self.closes = 0
        self.updates = 0

    def take(self, candle: dict[str, Any]) -> None:
        """Take the newest state of a candle; it replaces what was known of that candle."""
        self.candle = candle
        self.updates += 1
        self.closes += candle["is_closed"]


def draw(symbol: str, columns: dict[str, Column], note: str) -> Table:
    """Return all timeframes as one table."""
    table = Table(
        title=f"{symbol}, live", caption=note or "every message is the whole candle so far"
    )
    table.add_column("timeframe", style="bold")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    shown = columns.values()
    table.add_row("opened (UTC)", *(opened(column.candle) for column in shown))
    for field in FIELDS:
        table.add_row(field, *(value(column.candle, field) for column in shown))
    table.add_row("updates", *(str(column.updates) for column in shown), style="dim")
    table.add_row("closed", *(str(column.closes) for column in shown), style="dim")
    return table


def opened(candle: dict[str, Any]) -> str:
    """Return when the candle opened."""
    if not candle:
        return "-"
    return time.strftime("%m-%d %H:%M", time.gmtime(candle["timestamp"] / 1000))


def value(candle: dict[str, Any], field: str) -> Text:
    """Return a field, in colour where it says which way the price goes."""
    if not candle:
        return Text("-")
    if field == "trades":
        return Text(f"{candle[field]:,}")
    number = candle[field].rstrip("0").rstrip(".")
    if field != "close":
        return Text(number)
    return Text(number, style="green" if float(candle["close"]) >= float(candle["open"]) else "red")


async def main() -> None:
    """Show the candles until stopped."""
    made = parser(__doc__)
    made.add_argument("--symbol", default="BTCUSDT")
    made.add_argument(
        "--timeframes", nargs="+", default=["1", "5", "1H", "1D"], choices=TIMEFRAMES,
        metavar="TIMEFRAME", help=f"any of {' '.join(TIMEFRAMES)}",
    )  # fmt: skip
    made.add_argument(
        "--interval", type=float, default=0.5, help="seconds between updates, 0.5 or more"
    )
    made.add_argument(
        "--seconds", type=float, default=None, help="end after that time; default: never"
    )
    wanted = made.parse_args()
    symbol = wanted.symbol.upper()
    columns = {name: Column() for name in dict.fromkeys(wanted.timeframes)}
    async with client_of(wanted.api) as client:
        await get(client, "/price", symbol=symbol, timeframe="1")  # says what is wrong, if anything
    channels = [
        {"type": "candles", "symbol": symbol, "timeframe": name, "interval": wanted.interval}
        for name in columns
    ]
    note = ""

    def away(reason: str) -> None:
        nonlocal note
        note = f"[yellow]reconnecting: {reason}"

    with Live(draw(symbol, columns, note), console=console, auto_refresh=False) as live:
        try:
            async with asyncio.timeout(wanted.seconds):
                url = socket_url(wanted.api, "/ws?type=none")
                async for message in listen(url, channels, away):
                    if message.get("channel") == "candles":
                        note = ""
                        columns[message["timeframe"]].take(message)
                        live.update(draw(symbol, columns, note), refresh=console.is_terminal)
        except TimeoutError:
            live.update(draw(symbol, columns, note), refresh=True)


if __name__ == "__main__":
    start(main)
