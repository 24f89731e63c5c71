# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# ruff: noqa: E402 - the rooms are put on the path first
"""How long an event processor takes to catch up after it was away for 100,000 blocks.

    .venv/bin/python benchmarks/order_recovery.py [--blocks N] [--every N] [--range-limit N]

A real Anvil with a long chain (see tests/chainkit/long_chain.py), a real PostgreSQL and the scanner
with the service's own default settings: it has followed the chain to the contract's deployment,
then was away for ``--blocks`` blocks, with order events in every ``--every``-th of them.
``--range-limit`` puts a proxy in between that refuses ``eth_getLogs`` over more blocks, as public
providers do. Printed beside it: the node's own time for the same logs, unread.
Exits non-zero if it takes longer than ``--within`` seconds, or if orders or events are missing.
"""

import argparse
import asyncio
import logging
import random
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for folder in ("common", "order_system", "migrations", "demo/chain", "tests"):
    sys.path.insert(0, str(ROOT / folder))

import asyncpg
import msgspec
import structlog
from chainkit.long_chain import stretch_file
from chainkit.proxy import flaky
from chainkit.rig import open_rig

from linkora.database import open_pool
from localchain.node import free_port, keep_first_genesis, run_anvil
from localchain.rpc import Rpc
from localchain.testing import Chain
from localchain.trading import Contract, deploy_trading
from orders import range_store
from orders.settings import Settings
from schema.runner import migrate
from testkit.postgres import private_postgres

ORDERS_PER_BLOCK = 3
TAIL_BLOCKS = 50


async def make_chain(state: Path, blocks: int, every: int) -> tuple[Contract, int]:
    """Write the state of a chain of ``blocks`` blocks; return its contract and count of events."""
    busy = blocks // every
    async with (
        run_anvil(free_port(), arguments=["--state", str(state)]) as url,
        Rpc(url) as rpc,
    ):
        chain = Chain(rpc, await deploy_trading(rpc, "TradingLab"))
        for number in range(busy):
            kind, first = number % 3, number // 3 * ORDERS_PER_BLOCK + 1
            user = chain.users[first % 3]
            if kind == 0:
                await chain.send("createMany", user, user, user, ORDERS_PER_BLOCK)
            elif kind == 1:
                await chain.send("modifyMany", first, ORDERS_PER_BLOCK, number)
            else:
                await chain.send("settleMany", first, ORDERS_PER_BLOCK)
        events = sum((1, 1, 2)[number % 3] for number in range(busy)) * ORDERS_PER_BLOCK
    keep_first_genesis(state)
    await asyncio.to_thread(stretch_file, state, every - 1, TAIL_BLOCKS)
    return chain.trading, events


async def deliver(chain: Chain, head: int, step: int) -> float:
    """Return the seconds in which the node hands over all logs, unread."""
    began = time.perf_counter()
    for first in range(0, head + 1, step):
        wanted = {
            "address": chain.address, "fromBlock": hex(first),
            "toBlock": hex(min(head, first + step - 1)),
        }  # fmt: skip
        await chain.rpc.call("eth_getLogs", wanted)
    return time.perf_counter() - began


async def recover(url: str, contract: str, pool: asyncpg.Pool) -> tuple[float, int]:
    """Return the seconds that a scanner takes to the head, and how many events it stored."""
    limits = msgspec.structs.asdict(Settings(_env_file=None).limits)  # type: ignore[call-arg]
    del limits["contract"]
    async with open_rig(url, contract, pool, **limits) as rig:
        began = time.perf_counter()
        await rig.settle()
        return time.perf_counter() - began, rig.scanner.progress.events


async def measure(stack: AsyncExitStack, wanted: argparse.Namespace) -> int:
    """Make the chain, recover it, print the figures and return the exit code."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    settings = stack.enter_context(private_postgres()).settings()
    migrate(settings)
    pool = await stack.enter_async_context(open_pool(settings, name="benchmark"))
    began = time.perf_counter()
    trading, made = await make_chain(folder / "chain.json", wanted.blocks, wanted.every)
    arguments = ["--state", str(folder / "chain.json")]
    url = await stack.enter_async_context(run_anvil(free_port(), arguments=arguments))
    rpc = await stack.enter_async_context(Rpc(url))
    chain = Chain(rpc, Contract(rpc, trading.address, trading.artifact))
    head = await chain.head()
    print(f"chain: {head:,} blocks, made and loaded in {time.perf_counter() - began:.1f} s")
    node_s = await deliver(chain, head, 2000)
    if wanted.range_limit:
        proxy = flaky(url, random.Random(0), rate=0.0, max_range=wanted.range_limit)
        url = (await stack.enter_async_context(proxy)).url
    took_s, events = await recover(url, chain.address, pool)
    stored = await pool.fetchval(range_store.COUNT_ORDERS)
    orders = await chain.trading.read_int("nextOrderId") - 1
    print(f"node's own delivery  {head / node_s:>9,.0f} blocks/s  ({node_s:.2f} s)")
    print(f"recovered            {head / took_s:>9,.0f} blocks/s  ({took_s:.2f} s)")
    print(f"{events:,} of {made:,} events, {stored:,} of {orders:,} orders")
    return 0 if took_s <= wanted.within and (stored, events) == (orders, made) else 1


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--range-limit", type=int, default=0)
    parser.add_argument("--within", type=float, default=10.0)
    wanted = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with AsyncExitStack() as stack:
        return await measure(stack, wanted)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
