#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""On-chain orders in the terminal: statistics, the newest ones, changes. Ctrl-C ends it."""

import asyncio
from decimal import Decimal
from typing import Any

import httpx
from connection import client_of, console, get, listen, parser, socket_url, start
from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table

STATUSES = ("pending", "executed", "cancelled")
COLOURS = {"PENDING": "yellow", "EXECUTED": "green", "CANCELLED": "red"}
COLUMNS = ("id", "type", "side", "amount in", "target", "status", "user", "created")
REFRESH_S = 1.0
NEWS_SHOWN = 6


async def read(client: httpx.AsyncClient, wanted: Any) -> Group:
    """Read statistics and orders; return them as tables."""
    path = f"/users/{wanted.user}/orders" if wanted.user else f"/orders/{wanted.status or 'all'}"
    status = wanted.status if wanted.user else None
    listed, told = await asyncio.gather(
        get(client, path, limit=wanted.limit, status=status), get(client, "/statistics")
    )
    return Group(statistics_table(told["statistics"]), orders_table(listed))


def statistics_table(statistics: dict[str, dict[str, int]]) -> Table:
    """Return how many orders there are."""
    table = Table(title="orders")
    for name in ("", "in all", "last 24 h"):
        table.add_column(name, justify="right")
    for status, numbers in statistics.items():
        total, day = f"{numbers['total']:,}", f"{numbers['last_24h']:,}"
        table.add_row(f"[{COLOURS.get(status, 'white')}]{status.lower()}", total, day)
    return table


def orders_table(listed: dict[str, Any]) -> Table:
    """Return a page of orders."""
    title = f"newest {len(listed['orders'])} of {listed['total']:,}, times UTC"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in COLUMNS[3:5] else "left", no_wrap=True)
    for order in listed["orders"]:
        table.add_row(
            f"#{order['id']}",
            order["order_type"].lower(),
            "long" if order["is_long"] else "short",
            shortened(order["amount_in"]),
            shortened(order["target_price"]),
            f"[{COLOURS.get(order['status'], 'white')}]{order['status'].lower()}",
            f"{order['user_address'][:6]}…",
            order["created_at"][5:16].replace("T", " "),
        )
    return table


def shortened(number: str) -> str:
    """Return the first eight digits, so that a row fits into 80 columns."""
    return f"{Decimal(number):.8g}"


async def main() -> None:
    """Show orders until stopped."""
    made = parser(__doc__)
    made.add_argument("--user", help="only this address's orders")
    made.add_argument("--status", choices=STATUSES)
    made.add_argument("--limit", type=int, default=12)
    made.add_argument("--once", action="store_true", help="print once and end")
    wanted = made.parse_args()
    async with client_of(wanted.orders) as client:
        shown = await read(client, wanted)
        if wanted.once:
            console.print(shown)
            return
        news: list[str] = []
        with Live(shown, console=console, auto_refresh=False, screen=console.is_terminal) as live:

            async def redraw() -> None:
                while True:
                    await asyncio.sleep(REFRESH_S)
                    live.update(Group(await read(client, wanted), *news), refresh=True)

            async def follow() -> None:
                url = socket_url(wanted.orders, "/ws?type=none")
                channel = {"type": "orders", "user": wanted.user, "status": wanted.status}
                channel = {name: value for name, value in channel.items() if value}
                async for message in listen(url, [channel], news.append):
                    order = message.get("order")
                    if order:
                        news.append(f"order #{order['id']} is {order['status'].lower()}")
                        del news[:-NEWS_SHOWN]

            await asyncio.gather(redraw(), follow())


if __name__ == "__main__":
    start(main)
