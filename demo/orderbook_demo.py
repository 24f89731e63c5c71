#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A live order book in the terminal: levels, depth bars, spread, age. Ctrl-C ends it."""

import asyncio
import time
from typing import Any

from connection import client_of, console, get, listen, parser, socket_url, start
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

BAR_WIDTH = 28
REFRESH_S = 0.5


def side(levels: list[dict[str, str]]) -> list[tuple[str, str, float]]:
    """Return each level's price, quantity and the quantity up to it."""
    total = 0.0
    rows = []
    prices = aligned([level["price"] for level in levels])
    quantities = aligned([level["quantity"] for level in levels])
    for level, price, quantity in zip(levels, prices, quantities, strict=True):
        total += float(level["quantity"])
        rows.append((price, quantity, total))
    return rows


def aligned(numbers: list[str]) -> list[str]:
    """Return decimal strings with as many decimals as the longest of them needs."""
    needed = max((len(number.rstrip("0").partition(".")[2]) for number in numbers), default=0)
    return [
        whole + (f".{decimals[:needed].ljust(needed, '0')}" if needed else "")
        for whole, _, decimals in (number.partition(".") for number in numbers)
    ]


def draw(book: dict[str, Any], note: str) -> Panel:
    """Return the book as a panel."""
    asks, bids = side(book["asks"]), side(book["bids"])
    deepest = max((rows[-1][2] for rows in (asks, bids) if rows), default=1.0)
    table = Table(box=None, padding=(0, 1), expand=False)
    for name in ("Price", "Quantity", "Total"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Depth", width=BAR_WIDTH, no_wrap=True)
    for price, quantity, total in reversed(asks):
        table.add_row(f"[red]{price}", quantity, f"{total:,.6g}", bar(total / deepest, "red"))
    table.add_row("", "", "", spread(book), end_section=True)
    for price, quantity, total in bids:
        table.add_row(f"[green]{price}", quantity, f"{total:,.6g}", bar(total / deepest, "green"))
    age_s = max(0.0, time.time() - book["timestamp"] / 1000)
    subtitle = note or f"{age_s:.1f} s old · update {book['last_update_id']}"
    return Panel(table, title=f"[bold]{book['symbol']}", subtitle=subtitle, expand=False)


def bar(share: float, colour: str) -> Text:
    """Return a bar of that share of the column."""
    return Text("█" * max(1, round(share * BAR_WIDTH)), style=colour)


def spread(book: dict[str, Any]) -> Text:
    """Return the middle between the best prices, and the distance in basis points."""
    if not book["asks"] or not book["bids"]:
        return Text("one side is empty", style="yellow")
    ask, bid = float(book["asks"][0]["price"]), float(book["bids"][0]["price"])
    middle = (ask + bid) / 2
    return Text(f"mid {middle:.10g}  {(ask - bid) / middle * 1e4:.2f} bp", style="bold")


async def main() -> None:
    """Show the book until stopped."""
    made = parser(__doc__)
    made.add_argument("--symbol", default="BTCUSDT")
    made.add_argument("--levels", type=int, default=10, choices=(5, 10, 20))
    made.add_argument("--once", action="store_true", help="print the book once and end")
    wanted = made.parse_args()
    async with client_of(wanted.api) as client:
        book = await get(client, "/orderbook", symbol=wanted.symbol, levels=wanted.levels)
    if wanted.once:
        console.print(draw(book, ""))
        return
    channel = {"type": "orderbook", "symbol": wanted.symbol, "levels": wanted.levels}
    state = {"book": book, "note": ""}
    with Live(
        draw(book, ""), console=console, auto_refresh=False, screen=console.is_terminal
    ) as live:

        async def redraw() -> None:
            while True:
                live.update(draw(state["book"], state["note"]), refresh=True)
                await asyncio.sleep(REFRESH_S)

        async def follow() -> None:
            url = socket_url(wanted.api, "/ws?type=none")
            away = lambda reason: state.update(note=f"[yellow]reconnecting: {reason}")  # noqa: E731
            async for message in listen(url, [channel], away):
                if message.get("channel") == "orderbook":
                    state.update(book=message, note="")

        await asyncio.gather(redraw(), follow())


if __name__ == "__main__":
    start(main)
