# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The chain's turns on Anvil and on Hardhat, by what both can do: snapshots and reverts."""

import random

import pytest
from chainkit.history import play
from chainkit.nodes import OPENERS, on_both_nodes
from chainkit.rig import dump, fresh_scan, open_rig

RUNS = 8


async def statuses(pool):
    return [order["status"] for order in (await dump(pool))["orders"]]


@on_both_nodes
async def test_every_kind_of_event_is_read_and_equals_a_fresh_scan(chain, rig, pool):
    token = await chain.deploy("Token", "SIX", 6)
    first = await chain.create(token_out=token)
    second = await chain.create_stop()
    async with chain.one_block():
        await chain.create()
        await chain.modify(first, 5, 6)
        await chain.execute(first)
    await chain.cancel(second)
    for _ in range(3):
        await chain.send("openPosition", chain.users[0], token, 10**6, 5, 1, 2 * 10**18)
    await chain.send("closePosition", 1, -5)
    await chain.send("liquidatePosition", 2, -7, sender=chain.users[1])
    await chain.send("emitLog", [b"\x77" * 32], b"")
    await rig.settle()
    tables = await dump(pool)
    kinds = {row["event_type"] for row in tables["order_events"] + tables["position_events"]}
    assert kinds == {
        "CREATED", "MODIFIED", "EXECUTED", "CANCELLED", "OPENED", "CLOSED", "LIQUIDATED",
    }  # fmt: skip
    assert await statuses(pool) == ["EXECUTED", "CANCELLED", "PENDING"]
    assert [p["status"] for p in tables["positions"]] == ["CLOSED", "LIQUIDATED", "OPEN"]
    assert tables == await fresh_scan(chain.rpc_url, chain.address, pool)


@on_both_nodes
@pytest.mark.parametrize("later", [0, 2, 6], ids=["lower head", "same height", "higher head"])
async def test_a_chain_that_was_put_back_is_followed_wherever_its_head_is(later, chain, rig, pool):
    first = await chain.create()
    mark = await chain.snapshot()
    await chain.execute(first)
    await chain.create()
    await rig.settle()
    assert await statuses(pool) == ["EXECUTED", "PENDING"]
    await chain.revert(mark)
    for number in range(later):
        await chain.create(amount_in=7 + number)
    await rig.settle()
    assert rig.scanner.progress.reorgs == 1
    assert await statuses(pool) == ["PENDING"] * (1 + later)
    assert await dump(pool) == await fresh_scan(chain.rpc_url, chain.address, pool)


@on_both_nodes
async def test_a_head_that_is_lower_for_a_moment_only_undoes_nothing(chain, pool):
    async with open_rig(chain.rpc_url, chain.address, pool, lower_head_polls=4) as rig:
        mark = await chain.snapshot()
        await rig.settle()
        await chain.create()
        await rig.settle()
        await chain.revert(mark)
        for _ in range(3):
            await rig.scanner.step()
            assert rig.scanner.progress.status == "RECOVERY"
            assert await statuses(pool) == ["PENDING"]
        await rig.scanner.step()
        assert await statuses(pool) == []


@pytest.mark.parametrize("kind", OPENERS)
async def test_random_histories_end_as_a_fresh_scan_on_either_node(kind, pool):
    async with OPENERS[kind]() as chain:
        start = await chain.snapshot()
        reorgs = 0
        for seed in range(RUNS):
            rng = random.Random(seed)
            async with open_rig(chain.rpc_url, chain.address, pool, tip_batch_blocks=3) as rig:
                await play(chain, rig, rng, steps=10)
                await rig.settle()
                reorgs += rig.scanner.progress.reorgs
            found = await dump(pool)
            assert found == await fresh_scan(chain.rpc_url, chain.address, pool), f"{seed=}"
            await chain.revert(start)
            start = await chain.snapshot()
    assert reorgs
