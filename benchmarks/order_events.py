# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# ruff: noqa: E402 - the rooms are put on the path first
"""How fast the chain's events reach the tables, beside web3.py's own way, on one chain in one run.

    .venv/bin/python benchmarks/order_events.py [--events N] [--blocks N]

Three figures, all on a real Anvil and a real PostgreSQL:
- the node's own delivery: the same eth_getLogs requests, answers read and thrown away: the limit;
- ours: the scanner as it runs in the service, proofs, enrichment and commits included;
- web3.py: contract.events.X.get_logs and contract.functions.getOrder, rows written by
  executemany; on a part of the chain, as it is slow.
Exits non-zero if ours is not at least 20 times as fast as web3.py's way.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for folder in ("common", "order_system", "migrations", "demo/chain", "tests"):
    sys.path.insert(0, str(ROOT / folder))

import aiohttp
import structlog
from chainkit.rig import open_rig
from web3 import AsyncHTTPProvider, AsyncWeb3

from linkora.database import open_pool
from localchain.testing import Chain, anvil_chain
from localchain.trading import ETH
from orders import range_store
from schema.runner import migrate
from testkit.postgres import private_postgres

ABI = json.loads((ROOT / "order_system/orders/abi/trading.json").read_text())
EVENTS = ("OrderCreated", "OrderModified", "OrderExecuted", "OrderCancelled")
ORDERS_PER_TRANSACTION = 50
TRANSACTIONS_PER_BLOCK = 10
EVENTS_PER_ORDER = 11
GOAL = 20.0
GOAL_EVENTS_PER_S = 15_000


async def fill(chain: Chain, events: int, blocks: int) -> None:
    """Make ``EVENTS_PER_ORDER`` events for each order, then mine empty blocks.

    Anvil copies the contract's whole state for each block, so busy blocks are few and full.
    """
    orders = events // EVENTS_PER_ORDER
    calls: list[tuple] = []
    firsts = range(1, orders + 1, ORDERS_PER_TRANSACTION)
    sizes = [(first, min(ORDERS_PER_TRANSACTION, orders + 1 - first)) for first in firsts]
    for first, count in sizes:
        user = chain.users[first // ORDERS_PER_TRANSACTION % 3]
        calls.append(("createMany", user, ETH, ETH, count))
    for price in range(1, EVENTS_PER_ORDER - 2):
        calls += [("modifyMany", first, count, price) for first, count in sizes]
    calls += [("settleMany", first, count) for first, count in sizes]
    await chain.rpc.call("evm_setAutomine", False)
    for start in range(0, len(calls), TRANSACTIONS_PER_BLOCK):
        for call in calls[start : start + TRANSACTIONS_PER_BLOCK]:
            await chain.trading.send(*call)
        await chain.rpc.call("evm_mine")
    await chain.rpc.call("evm_setAutomine", True)
    for _ in range(0, blocks, 10):
        await chain.mine(10)


async def deliver(chain: Chain, step: int) -> float:
    """Return the seconds that the node takes to hand over all logs, unread."""
    head = await chain.head()
    began = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        for first in range(0, head + 1, step):
            wanted = {
                "address": chain.address, "fromBlock": hex(first),
                "toBlock": hex(min(head, first + step - 1)),
            }  # fmt: skip
            body = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [wanted]}
            async with session.post(chain.rpc_url, json=body) as response:
                await response.read()
    return time.perf_counter() - began


async def ours(chain: Chain, pool) -> tuple[int, float]:
    """Return events and seconds of a whole scan by the service's own scanner and settings."""
    settings = {
        "range_blocks": 2000, "range_blocks_max": 50_000, "range_logs_target": 4000,
        "fetch_workers": 4,
    }  # fmt: skip
    async with open_rig(chain.rpc_url, chain.address, pool, **settings) as rig:
        began = time.perf_counter()
        await rig.settle()
        took = time.perf_counter() - began
    assert (
        await pool.fetchval(range_store.COUNT_ORDERS)
        == await chain.trading.read_int("nextOrderId") - 1
    )
    return await pool.fetchval("SELECT count(*) FROM order_events"), took


async def by_web3(chain: Chain, pool, events: int) -> tuple[int, float]:
    """Return events and seconds of web3.py's way over the first blocks with ``events`` events."""
    web3 = AsyncWeb3(AsyncHTTPProvider(chain.rpc_url))
    contract = web3.eth.contract(address=web3.to_checksum_address(chain.address), abi=ABI)
    await pool.execute("CREATE TABLE IF NOT EXISTS web3_events (LIKE order_events INCLUDING ALL)")
    await pool.execute("CREATE TABLE IF NOT EXISTS web3_orders (LIKE orders INCLUDING ALL)")
    done, first, step = 0, 1, 10
    began = time.perf_counter()
    while done < events:
        rows, orders = [], []
        times: dict[int, int] = {}
        for name in EVENTS:
            for entry in await getattr(contract.events, name).get_logs(
                from_block=first, to_block=first + step - 1
            ):
                number = entry["blockNumber"]
                if number not in times:
                    times[number] = (await web3.eth.get_block(number))["timestamp"]
                data = {k: str(v) for k, v in entry["args"].items() if k != "orderId"}
                rows.append((
                    number, entry["logIndex"], bytes(entry["transactionHash"]), times[number],
                    entry["args"]["orderId"], name[5:].upper(), json.dumps(data),
                ))  # fmt: skip
                if name == "OrderCreated":
                    order = await contract.functions.getOrder(entry["args"]["orderId"]).call()
                    orders.append((
                        order[0], *(bytes.fromhex(a[2:]) for a in order[1:4]), *order[4:9],
                        order[11], times[number], bytes(entry["transactionHash"]), number,
                        entry["logIndex"],
                    ))  # fmt: skip
        async with pool.acquire() as connection, connection.transaction():
            await connection.executemany(INSERT_EVENT, rows)
            await connection.executemany(INSERT_ORDER, orders)
        done += len(rows)
        first += step
    took = time.perf_counter() - began
    await web3.provider.disconnect()
    return done, took


INSERT_EVENT = """
    INSERT INTO web3_events (block_number, log_index, tx_hash, block_time, order_id, event_type,
                             event_data)
    VALUES ($1, $2, $3, to_timestamp($4::bigint), $5, $6, $7::jsonb)
"""
INSERT_ORDER = """
    INSERT INTO web3_orders (order_id, user_address, token_in, token_out, amount_in, target_price,
        min_amount_out, order_type, is_long, self_executable, created_at, updated_at, tx_hash,
        block_number, log_index, status)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, to_timestamp($11::bigint),
        to_timestamp($11::bigint), $12, $13, $14, 'PENDING')
"""


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--blocks", type=int, default=300)
    parser.add_argument("--web3-events", type=int, default=2_000)
    wanted = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with private_postgres() as server:
        settings = server.settings()
        migrate(settings)
        async with (
            anvil_chain(arguments=["--disable-block-gas-limit"]) as chain,
            open_pool(settings, name="benchmark") as pool,
        ):
            await fill(chain, wanted.events, wanted.blocks)
            print(f"chain: {await chain.head():,} blocks, about {wanted.events:,} order events")
            node_s = await deliver(chain, 2000)
            events, ours_s = await ours(chain, pool)
            web3_events, web3_s = await by_web3(chain, pool, wanted.web3_events)
    rates = {"node": events / node_s, "ours": events / ours_s, "web3": web3_events / web3_s}
    seconds = {"node": node_s, "ours": ours_s, "web3": web3_s}
    counts = {"node": events, "ours": events, "web3": web3_events}
    names = {"node": "node's own delivery", "ours": "ours, committed", "web3": "web3.py, committed"}
    for key, name in names.items():
        rate, took_s = rates[key], seconds[key]
        print(f"{name:20} {rate:>9,.0f} events/s  ({counts[key]:,} in {took_s:.1f} s)")
    ratio = rates["ours"] / rates["web3"]
    print(f"ours : web3.py = {ratio:.1f} : 1 (asked for: {GOAL:.0f} : 1)")
    print(f"aim on two idle cores: {GOAL_EVENTS_PER_S:,} events/s; the node's rate is the limit")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
