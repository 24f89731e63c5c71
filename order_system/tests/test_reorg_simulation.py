# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Random histories with reorgs on a real node: the tables must be those of a fresh scan."""

import os
import random

import pytest
from chainkit.history import play
from chainkit.rig import FAST, dump, fresh_scan, open_rig

from linkora.database import open_pool
from localchain.testing import anvil_chain

SEED = int(os.environ.get("REORG_SEED", "20261122"))
RUNS = int(os.environ.get("REORG_RUNS", "200"))
BLOCK_OF_RUNS = 50


@pytest.mark.parametrize("part", range(RUNS // BLOCK_OF_RUNS))
async def test_any_history_of_reorgs_ends_as_a_fresh_scan_of_the_final_chain(part, database):
    async with (
        anvil_chain() as chain,
        open_pool(database, name="simulation", server_settings=FAST) as pool,
    ):
        start = await chain.snapshot()
        reorgs = 0
        for run in range(BLOCK_OF_RUNS):
            seed = SEED + part * BLOCK_OF_RUNS + run
            rng = random.Random(seed)
            sizes = {"tip_batch_blocks": rng.choice((1, 3, 64))}
            async with open_rig(chain.rpc_url, chain.address, pool, **sizes) as rig:
                await play(chain, rig, rng, steps=8)
                await rig.settle()
                reorgs += rig.scanner.progress.reorgs
            found = await dump(pool)
            expected = await fresh_scan(chain.rpc_url, chain.address, pool)
            assert found == expected, f"REORG_SEED={seed} REORG_RUNS={BLOCK_OF_RUNS}"
            await chain.revert(start)
            start = await chain.snapshot()
        assert reorgs > BLOCK_OF_RUNS // 4, "the simulation has hardly seen a reorg"
