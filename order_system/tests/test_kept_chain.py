# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Chains whose blocks are there and whose old state is not: long ones, and a restarted Anvil."""

import asyncio
import contextlib
import json

import pytest
from chainkit.long_chain import header_hash, stretch
from chainkit.rig import dump, fresh_scan, open_rig

from localchain.node import free_port, keep_first_genesis, run_anvil
from localchain.rpc import Rpc, RpcError
from localchain.testing import Chain
from localchain.trading import deploy_trading
from orders.chain.faults import StateUnavailable, classify

STATE_CALL = {"data": "0x2a58b330"}  # nextOrderId()


@contextlib.asynccontextmanager
async def kept_chain(state):
    if state.exists():
        await asyncio.to_thread(keep_first_genesis, state)
    arguments = ["--state", str(state)]
    async with run_anvil(free_port(), arguments=arguments) as url, Rpc(url) as rpc:
        yield Chain(rpc, await deploy_trading(rpc, "TradingLab"))


async def test_what_happened_while_the_scanner_was_away_is_read_although_old_state_is_gone(
    tmp_path, pool
):
    state = tmp_path / "chain.json"
    sizes = {"window_blocks": 3, "tip_batch_blocks": 2, "range_blocks": 2}
    async with kept_chain(state) as chain:
        await chain.create()
        async with open_rig(chain.rpc_url, chain.address, pool, **sizes) as rig:
            await rig.settle()
        for _ in range(5):
            await chain.modify(await chain.create(), 7, 8)
        await chain.execute(2)
    async with kept_chain(state) as chain:
        with pytest.raises(RpcError) as refusal:
            await chain.rpc.call("eth_call", {"to": chain.address, **STATE_CALL}, "0x3")
        refused = classify("eth_call", refusal.value.code, str(refusal.value))
        assert isinstance(refused, StateUnavailable)
        async with open_rig(chain.rpc_url, chain.address, pool, **sizes) as rig:
            await rig.settle()
        found = await dump(pool)
        assert [order["status"] for order in found["orders"]].count("EXECUTED") == 1
        assert [order["target_price"] for order in found["orders"]][1:] == [7] * 5
        # A scan from nothing begins by itself, at the start of the chain, and agrees.
        scanned = await fresh_scan(chain.rpc_url, chain.address, pool, window_blocks=3)
    assert scanned.pop("state")[0]["start_block"] == 1
    assert {name: found[name] for name in scanned if name != "order_events"} == {
        name: scanned[name] for name in scanned if name != "order_events"
    }
    assert len(found["order_events"]) == len(scanned["order_events"]) == 12


async def test_thousands_of_empty_blocks_are_passed_in_few_requests_and_lose_nothing(
    tmp_path, pool
):
    state = tmp_path / "chain.json"
    async with kept_chain(state) as chain:
        for _ in range(4):
            await chain.create()
    content = json.loads(state.read_bytes())
    by_number = {int(block["header"]["number"], 16): block for block in content["blocks"]}
    assert by_number[2]["header"]["parentHash"] == header_hash(by_number[1]["header"])
    state.write_text(json.dumps(stretch(content, gap=999, tail=500)))
    async with kept_chain(state) as chain:
        assert await chain.head() > 4_400
        async with open_rig(chain.rpc_url, chain.address, pool) as rig:
            await rig.settle()
    found = await dump(pool)
    assert [order["order_id"] for order in found["orders"]] == [1, 2, 3, 4]
    first, *later = (order["block_number"] for order in found["orders"])
    assert first > 1000
    assert later == [first + 1000, first + 2000, first + 3000]
