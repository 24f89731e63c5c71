# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# ruff: noqa: E402 - the rooms are put on the path first
"""What the order API's answers cost at ten, a thousand and a million orders, in one run.

    .venv/bin/python benchmarks/order_queries.py [--orders N] [--rounds N]

A real PostgreSQL and the API's own application, asked without a network between. Prints the median
milliseconds of an answer; a page holds 100 orders, so that lists are comparable from a thousand on.
Exits non-zero if with many orders /statistics takes more than ``STATISTICS_GOAL`` times what it
takes with ten, or any list that skips nothing by ``offset`` takes ``SLACK_MS`` more than three
times its time at a thousand.
"""

import argparse
import asyncio
import logging
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for folder in ("common", "order_system", "migrations", "tests"):
    sys.path.insert(0, str(ROOT / folder))

import asyncpg
import httpx
import structlog
from chainkit.many_orders import WHALE, fill

from linkora.database import open_pool
from linkora.health import Health
from linkora.hub import Hub
from linkora.metrics import new_registry
from linkora.settings import WebSocketSettings
from linkora.sockets import Sockets
from orders.app import Deps, create_app
from orders.condition import Bounds
from orders.queries import Queries
from orders.standing import Standing
from orders.subscriptions import OrderChannels
from orders.told import Told
from schema.runner import migrate
from testkit.postgres import private_postgres

TEN, THOUSAND = 10, 1_000
GOAL, SLACK_MS = 3.0, 5.0
STATISTICS_GOAL = 2.0
"""Ten orders have few minutes and hours to add up, and a million have up to 84 a status."""
SMALL = "0x" + f"{7:040x}"


def questions(orders: int) -> dict[str, str]:
    """Return the paths to ask by name; a star marks those that skip entries one by one."""
    middle = f"{orders // 6}-{orders // 2}"
    return {
        "statistics": "/statistics",
        "all, newest": "/orders/all?limit=100",
        "all, cursor in the middle": f"/orders/all?limit=100&cursor={middle}",
        "pending": "/orders/pending?limit=100",
        "executed, cursor": f"/orders/executed?limit=100&cursor={middle}",
        "a whale's orders": f"/users/{WHALE}/orders?limit=100",
        "a whale's few open ones": f"/users/{WHALE}/orders?status=pending&limit=100",
        "a whale's, cursor": f"/users/{WHALE}/orders?limit=100&cursor={middle}",
        "another user's": f"/users/{SMALL}/orders?limit=100",
        "one order": f"/orders/{orders // 2}",
        "its events": f"/orders/{orders // 2}/events",
        "all, offset in the middle *": f"/orders/all?limit=100&offset={orders // 2}",
    }


def application(pool: asyncpg.Pool) -> httpx.AsyncClient:
    """Return a client of the API on a database."""
    registry = new_registry()
    queries, hub = Queries(pool), Hub()
    bounds = Bounds(has_chain=True, lag_blocks=50, silence_s=60, dead_letters=0)
    sockets = Sockets(WebSocketSettings(), registry)
    standing = Standing(queries, bounds, Health(), lambda: 0)
    deps = Deps(queries, standing, registry, hub, sockets, OrderChannels(queries, Told(hub)), [])
    transport = httpx.ASGITransport(app=create_app(deps))
    return httpx.AsyncClient(transport=transport, base_url="http://api")


async def measure(client: httpx.AsyncClient, path: str, rounds: int) -> float:
    """Return the median milliseconds of an answer."""
    took = []
    for _ in range(rounds + 3):
        began = time.perf_counter()
        answer = await client.get(path)
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, answer.text
    return statistics.median(took[3:])


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=30)
    wanted = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    found: dict[int, dict[str, float]] = {}
    async with AsyncExitStack() as stack:
        for count in (TEN, THOUSAND, wanted.orders):
            settings = stack.enter_context(private_postgres()).settings()
            migrate(settings)
            pool = await stack.enter_async_context(open_pool(settings, name="benchmark"))
            client = await stack.enter_async_context(application(pool))
            began = time.perf_counter()
            await fill(pool, count)
            print(f"{count:,} orders made in {time.perf_counter() - began:.1f} s")
            found[count] = {
                name: await measure(client, path, wanted.rounds)
                for name, path in questions(count).items()
            }
    is_flat = True
    print(f"{'':28}{TEN:>10,} {THOUSAND:>10,} {wanted.orders:>12,} orders, ms")
    for name in found[TEN]:
        ten_ms, thousand_ms, many_ms = (times[name] for times in found.values())
        print(f"{name:28}{ten_ms:>10.2f} {thousand_ms:>10.2f} {many_ms:>12.2f}")
        is_statistics = name == "statistics"
        most_ms = ten_ms * STATISTICS_GOAL if is_statistics else thousand_ms * GOAL + SLACK_MS
        is_flat &= name.endswith("*") or many_ms <= most_ms
    return 0 if is_flat else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
