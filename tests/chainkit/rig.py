# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A scanner wired to a chain and a database, stepped by hand; and what the tables hold."""

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import asyncpg
import msgspec

from orders.chain.client import ChainClient
from orders.chain.pool import NodePool
from orders.chain.reader import ChainReader
from orders.chain.rpc import RpcNode
from orders.order_store import OrderStore
from orders.outcomes import Change
from orders.ports import Limits
from orders.scanner import Scanner
from orders.state_store import StateStore

LIMITS = Limits(
    contract="",
    confirmations=0,
    finality_depth=None,
    start_block=None,
    resets_restarted_chain=False,
    fetch_workers=3,
    range_blocks=50,
    range_blocks_max=2000,
    range_logs_target=1000,
    window_blocks=256,
    tip_batch_blocks=64,
    lower_head_polls=2,
    audit_interval_s=3600.0,
)
# Everything that must be equal, row for row, however the chain came to be as it is.
DUMPS = {
    "state": """SELECT chain_id, genesis_hash, contract_address, start_block, last_block,
                last_hash, last_block_time FROM system_state""",
    "blocks": "SELECT * FROM blocks ORDER BY number",
    "processed_events": "SELECT * FROM processed_events ORDER BY block_number, log_index",
    "order_events": "SELECT * FROM order_events ORDER BY block_number, log_index",
    "position_events": "SELECT * FROM position_events ORDER BY block_number, log_index",
    "orders": "SELECT * FROM orders ORDER BY order_id",
    "positions": "SELECT * FROM positions ORDER BY position_id",
    "tokens": "SELECT * FROM tokens ORDER BY address",
    "order_counts": "SELECT * FROM order_counts ORDER BY status",
    "order_counts_by_time": """SELECT * FROM order_counts_by_time
                               ORDER BY status, width_s, opened_at""",
    "order_counts_by_user": "SELECT * FROM order_counts_by_user ORDER BY user_address, status",
    "dead_letters": """SELECT source, reason, tx_hash, log_index, block_number, payload
                       FROM dead_letters WHERE resolved_at IS NULL
                       ORDER BY block_number, log_index""",
}
TABLES = (
    "order_events", "position_events", "processed_events", "orders", "positions", "blocks",
    "tokens", "order_counts_by_time", "order_counts_by_user", "dead_letters", "system_state",
)  # fmt: skip
FORGET = """
    DELETE FROM order_events; DELETE FROM position_events; DELETE FROM processed_events;
    DELETE FROM orders; DELETE FROM positions; DELETE FROM blocks; DELETE FROM dead_letters;
    DELETE FROM order_counts_by_time; DELETE FROM order_counts_by_user;
    UPDATE order_counts SET total = 0;
    DELETE FROM tokens WHERE first_block >= 0; DELETE FROM system_state
"""
# Many small transactions: a test's database need not survive a power cut.
FAST = {"synchronous_commit": "off"}


class Rig:
    """A scanner, its parts, and what it has published."""

    def __init__(
        self, urls: Sequence[str], limits: Limits, pool: Any, session: aiohttp.ClientSession
    ) -> None:
        nodes = [RpcNode(url, session, 64 * 1024 * 1024) for url in urls]
        self.clients = [ChainClient(node, limits.contract, 100) for node in nodes]
        self.nodes = NodePool(self.clients, limits.fetch_workers)
        self.reader = ChainReader(self.nodes)
        self.state = StateStore(pool)
        self.store = OrderStore(pool, limits.window_blocks)
        self.published: list[Change] = []
        self.scanner = Scanner(
            self.reader, self.state, self.store, limits, self.published.extend, time.monotonic
        )

    async def settle(self, most: int = 200) -> None:
        """Step until the scanner is at the head, or holds."""
        for _ in range(most):
            may_be_more = await self.scanner.step()
            if not may_be_more and self.scanner.progress.status != "RECOVERY":
                return
        raise AssertionError("the scanner does not come to rest")


@contextlib.asynccontextmanager
async def open_rig(
    url: str | Sequence[str], contract: str, pool: asyncpg.Pool, **changes: Any
) -> AsyncIterator[Rig]:
    """Yield a scanner of ``contract`` on the node or nodes at ``url``; nothing runs by itself."""
    urls = [url] if isinstance(url, str) else url
    limits = msgspec.structs.replace(LIMITS, contract=contract, **changes)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield Rig(urls, limits, pool, session)


async def dump(pool: asyncpg.Pool) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table that the event processor writes."""
    return {name: [dict(row) for row in await pool.fetch(query)] for name, query in DUMPS.items()}


async def forget(pool: asyncpg.Pool) -> None:
    """Empty the event processor's tables as if it had never run."""
    await pool.execute(FORGET)


async def fresh_scan(url: str, contract: str, pool: asyncpg.Pool, **changes: Any) -> Any:
    """Return what a scan from nothing makes of the chain as it is now."""
    await forget(pool)
    async with open_rig(url, contract, pool, **changes) as rig:
        await rig.settle()
    return await dump(pool)
