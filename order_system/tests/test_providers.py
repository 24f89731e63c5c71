# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Providers that fail, lie, lag and lose logs: the tables end as if they hadn't."""

import asyncio
import os
import random
import time

import pytest
from chainkit.history import act
from chainkit.nodes import OPENERS
from chainkit.proxy import FAULTS, flaky
from chainkit.rig import FAST, dump, fresh_scan, open_rig

from linkora.database import open_pool
from linkora.errors import TransientError
from localchain.testing import anvil_chain
from orders.chain.blocks import ChainIdentity
from orders.chain.client import ChainClient
from orders.chain.faults import ForeignChain
from orders.chain.pool import NodePool

SEED = int(os.environ.get("FLAKY_SEED", "4711"))
RUNS = int(os.environ.get("FLAKY_RUNS", "4"))


@pytest.fixture
async def pool(database):
    async with open_pool(database, name="providers", server_settings=FAST) as opened:
        yield opened


async def patiently(rig, seconds=30.0):
    """Settle as the service does: what fails for a passing reason is tried again."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await rig.settle()
            except TransientError:
                await asyncio.sleep(0.01)
            else:
                return


@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
async def test_a_flaky_provider_ends_in_the_same_tables_as_an_honest_one(chain, pool, seed):
    rng = random.Random(seed)
    async with flaky(chain.rpc_url, rng, rate=0.25, max_range=7) as proxy:
        sizes = {"window_blocks": 5, "lower_head_polls": 50, "range_blocks": 20}
        async with open_rig(proxy.url, chain.address, pool, **sizes) as rig:
            for _ in range(8):
                for _ in range(3):
                    # what changes nothing in the contract can be lost without contradiction
                    await act(chain, rng, has_orphans=False)
                await patiently(rig)
            proxy.rate = 0.0
            rig.scanner._audit._next_s = 0.0  # the audit comes, as it does every few minutes
            await patiently(rig)
        found = await dump(pool)
    expected = await fresh_scan(chain.rpc_url, chain.address, pool, window_blocks=5)
    assert found == expected, f"{seed=} {proxy.seen}"
    assert len(proxy.seen) > len(FAULTS) // 2


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_single_fault_gets_into_the_tables(chain, pool, fault):
    for _ in range(4):
        await chain.create()
    await chain.execute(2)
    await chain.mine(3)
    async with flaky(chain.rpc_url, random.Random(1), rate=0.3, faults=(fault,)) as proxy:
        async with open_rig(
            proxy.url, chain.address, pool, window_blocks=3, lower_head_polls=50
        ) as rig:
            await patiently(rig)
            await chain.create()
            await patiently(rig)
            proxy.rate = 0.0
            await patiently(rig)
        assert proxy.seen
        found = await dump(pool)
    assert found == await fresh_scan(chain.rpc_url, chain.address, pool, window_blocks=3)


async def test_blocks_near_the_head_are_read_in_requests_that_the_provider_takes(chain, pool):
    for _ in range(40):
        await chain.create()
    async with flaky(chain.rpc_url, random.Random(1), rate=0.0, max_calls=12) as proxy:
        async with open_rig(proxy.url, chain.address, pool) as rig:
            await patiently(rig)
            # What nobody could make smaller is told as a passing trouble, and changes nothing.
            proxy.max_calls = 1
            with pytest.raises(TransientError):
                await rig.scanner.step()
        found = await dump(pool)
    assert len(found["orders"]) == 40
    assert found == await fresh_scan(chain.rpc_url, chain.address, pool)


async def test_a_provider_that_always_loses_a_log_is_noticed_and_the_other_one_asked(chain, pool):
    for _ in range(6):
        await chain.create()
    await chain.execute(1)
    await chain.mine(10)
    lossy = flaky(chain.rpc_url, random.Random(2), rate=1.0, faults=("clip",))
    async with lossy as proxy:
        urls = [proxy.url, chain.rpc_url]
        async with open_rig(urls, chain.address, pool, window_blocks=3) as rig:
            await patiently(rig)
            assert rig.scanner.progress.retries > 0
            assert "incomplete" in str(rig.reader.troubles())
        found = await dump(pool)
    assert found == await fresh_scan(chain.rpc_url, chain.address, pool, window_blocks=3)


async def test_alone_it_is_refused_for_as_long_as_orders_are_missing(chain, pool):
    for _ in range(6):
        await chain.create()
    await chain.mine(10)
    lossy = flaky(chain.rpc_url, random.Random(2), rate=1.0, faults=("clip",))
    async with lossy as proxy, open_rig(proxy.url, chain.address, pool, window_blocks=3) as rig:
        with pytest.raises(TransientError, match="no provider gives all logs"):
            await rig.settle()
        assert (await dump(pool))["orders"] == []
        proxy.rate = 0.0
        await patiently(rig)
    assert len((await dump(pool))["orders"]) == 6


async def test_a_lost_execution_is_found_by_the_audit_and_read_again(chain, pool):
    first = await chain.create()
    await chain.mine(5)
    async with open_rig(chain.rpc_url, chain.address, pool, audit_interval_s=0.01) as rig:
        await rig.settle()
        await chain.execute(first)
        # the whole range is final and the logs of a settled order are all that is missing
        async with flaky(chain.rpc_url, random.Random(3), 1.0, faults=("lose_logs",)) as proxy:
            await chain.mine(8)
            async with open_rig(
                proxy.url, chain.address, pool, window_blocks=1, audit_interval_s=3600
            ) as lossy:
                lossy.scanner._audit._next_s = float("inf")
                await patiently(lossy)
        assert (await dump(pool))["orders"][0]["status"] == "PENDING"
        await asyncio.sleep(0.02)
        await rig.settle()
    assert (await dump(pool))["orders"][0]["status"] == "EXECUTED"


async def test_a_chain_that_changes_again_during_a_rollback_is_not_mixed_with_what_was_stored(
    chain, pool, monkeypatch
):
    async with open_rig(chain.rpc_url, chain.address, pool) as rig:
        for _ in range(5):
            await chain.create()
        await rig.settle()
        roll_back, more = rig.scanner._roll_back, [3]

        async def too_late(*arguments):
            if more:
                await chain.reorg(more.pop())  # deeper, after the fork has been found
            return await roll_back(*arguments)

        monkeypatch.setattr(rig.scanner, "_roll_back", too_late)
        await chain.reorg(1)
        await rig.settle()
        assert not more
        assert len((await dump(pool))["orders"]) == 2
    assert await dump(pool) == await fresh_scan(chain.rpc_url, chain.address, pool)


@pytest.mark.parametrize("is_new", [True, False], ids=["from the beginning", "later"])
async def test_a_provider_that_boasts_of_blocks_is_left_alone_for_one_that_has_them(
    is_new, chain, pool
):
    await chain.create()
    async with flaky(chain.rpc_url, random.Random(1), 1.0, faults=("boast",)) as proxy:
        urls = [proxy.url, chain.rpc_url]
        async with open_rig(urls, chain.address, pool) as rig:
            if not is_new:
                proxy.rate = 0.0
                await patiently(rig)
                proxy.rate = 1.0
            with pytest.raises(TransientError):
                await rig.settle()
            rest_s = rig.nodes.seats[0].ready_at_s - time.monotonic()
            assert rest_s > 10, "it would be asked for the head first again and again"
            await patiently(rig)
            assert rig.scanner.progress.status == "ACTIVE"
    assert len((await dump(pool))["orders"]) == 1


async def test_a_provider_that_lacks_blocks_below_its_head_is_left_for_one_that_has_them(
    chain, pool
):
    await chain.create()
    async with flaky(chain.rpc_url, random.Random(1), 0.0, faults=("withhold",)) as proxy:
        async with open_rig([proxy.url, chain.rpc_url], chain.address, pool) as rig:
            await rig.settle()
            proxy.rate = 1.0
            await chain.create()
            await rig.settle()
            assert "incomplete" in str(rig.reader.troubles())
        async with open_rig(proxy.url, chain.address, pool) as alone:
            await alone.scanner.step()
            assert alone.scanner.progress.status == "RECOVERY"
            proxy.rate = 0.0
            await alone.settle()
    assert len((await dump(pool))["orders"]) == 2


async def test_the_second_provider_takes_over_while_the_first_is_away(chain, pool):
    await chain.create()
    urls = ["http://127.0.0.1:9/", chain.rpc_url]
    async with open_rig(urls, chain.address, pool) as rig:
        await rig.settle()
        assert "127.0.0.1:9" in rig.reader.troubles()
    assert len((await dump(pool))["orders"]) == 1


async def test_a_provider_of_another_chain_writes_nothing(chain, pool):
    await chain.create()
    async with open_rig(chain.rpc_url, chain.address, pool) as rig:
        await rig.settle()
    before = await dump(pool)
    async with anvil_chain(arguments=["--chain-id", "1337"]) as other:
        await other.create()
        await other.create()
        async with open_rig([other.rpc_url], chain.address, pool) as rig:
            await rig.settle()
            assert rig.scanner.progress.status == "ERROR"
            assert "foreign chain" in rig.scanner.progress.detail
        assert await dump(pool) == before
        async with open_rig([other.rpc_url, chain.rpc_url], chain.address, pool) as rig:
            await chain.create()
            await rig.settle()
    assert len((await dump(pool))["orders"]) == 2


async def test_a_node_that_has_lost_the_contract_is_foreign_and_says_so():
    class Empty:
        name = "empty"

        async def identity(self):
            return None

    nodes = NodePool([Empty()], 1)
    nodes.expect(ChainIdentity(1, "0x11", "0x22"))
    with pytest.raises(ForeignChain, match="empty: there is no contract"):
        await nodes.ask(ChainClient.tip)


@pytest.mark.parametrize("kind", OPENERS)
async def test_a_restarted_local_chain_holds_or_starts_over_as_configured(kind, pool):
    # Hardhat's block 0 has the time of its start, Anvil's has it, too, but for what is given.
    arguments = {"arguments": ["--timestamp", "1700000000"]} if kind == "anvil" else {}
    async with OPENERS[kind]() as chain:
        await chain.create()
        await chain.create()
        async with open_rig(chain.rpc_url, chain.address, pool) as rig:
            await rig.settle()
    async with OPENERS[kind](**arguments) as chain:
        await chain.create()
        async with open_rig(chain.rpc_url, chain.address, pool) as rig:
            await rig.settle()
            assert rig.scanner.progress.status == "ERROR"
            assert len((await dump(pool))["orders"]) == 2
        again = {"resets_restarted_chain": True}
        async with open_rig(chain.rpc_url, chain.address, pool, **again) as rig:
            await rig.settle()
            assert rig.scanner.progress.status == "ACTIVE"
    assert len((await dump(pool))["orders"]) == 1
