# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Killed between any two statements, started again: nothing is lost or doubled."""

import pytest
from chainkit.crash import Fuse, Killed, open_fused_pool, restore, save
from chainkit.rig import FAST, dump, forget, fresh_scan, open_rig

from linkora.database import open_pool
from linkora.errors import TransientError
from localchain.testing import ETH


@pytest.fixture
async def pool(database):
    async with open_pool(database, name="crash", server_settings=FAST) as opened:
        yield opened


async def tell_a_story(chain):
    token = await chain.deploy("Token", "SIX", 6)
    first = await chain.create(token_out=token)
    async with chain.one_block():
        await chain.create()
        await chain.modify(first, 5, 6)
    await chain.execute(first)
    await chain.send("openPosition", chain.users[0], token, 10, 3, 0, 10**18)
    await chain.send("emitLog", [bytes.fromhex(CREATED[2:]), (77).to_bytes(32, "big")], b"poison")
    await chain.cancel(9, user=ETH)


CREATED = "0xdcb4282d27c4f0f72b550268698af955cf8c6bd36efec7b9a243e500452f86e2"


async def kill_everywhere(chain, database, pool, prepare, expected):
    """Kill after each statement in turn, and return those statements.

    After one statement is before the next one, and before the first one nothing has happened.
    """
    places = []
    while True:
        await prepare()
        fuse = Fuse(len(places) + 1)
        async with (
            open_fused_pool(database, fuse) as fused,
            open_rig(chain.rpc_url, chain.address, fused, tip_batch_blocks=3) as rig,
        ):
            try:
                await rig.settle()
            except (Killed, TransientError):  # the second: what the dead connection says
                assert fuse.killed_at
        if not fuse.killed_at:
            return places  # the run was over before the fuse
        places.append(fuse.killed_at)
        async with open_rig(chain.rpc_url, chain.address, pool) as rig:
            await rig.settle()
        assert await dump(pool) == expected, f"killed after {fuse.killed_at}"


async def test_a_first_scan_may_be_killed_at_any_statement(chain, database, pool):
    await tell_a_story(chain)
    expected = await fresh_scan(chain.rpc_url, chain.address, pool)
    assert expected["orders"]
    assert expected["positions"]
    assert expected["dead_letters"]
    places = await kill_everywhere(chain, database, pool, lambda: forget(pool), expected)
    assert sum(place.startswith("COMMIT") for place in places) >= 2
    assert any("INSERT INTO order_events" in place for place in places)


async def test_a_rollback_may_be_killed_at_any_statement(chain, database, pool):
    await tell_a_story(chain)
    async with open_rig(chain.rpc_url, chain.address, pool) as rig:
        await rig.settle()
    await save(pool)
    await chain.reorg(6)
    await chain.create()
    expected = await fresh_scan(chain.rpc_url, chain.address, pool)
    places = await kill_everywhere(chain, database, pool, lambda: restore(pool), expected)
    assert any("DELETE FROM order_events" in place for place in places)
    assert any("INSERT INTO orders" in place for place in places)
