# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""An operator's commands: done, or still standing; and repairs that are broken off."""

import random

import pytest
from chainkit.crash import Fuse, Killed, open_fused_pool, restore, save
from chainkit.proxy import flaky
from chainkit.rig import FAST, dump, fresh_scan, open_rig

from linkora.database import open_pool
from linkora.errors import TransientError
from orders.condition import Bounds, judge
from orders.queries import Queries

LOSSY = {"window_blocks": 1}
COMMAND = "UPDATE system_state SET status = '{}'"


@pytest.fixture
async def pool(database):
    async with open_pool(database, name="commands", server_settings=FAST) as opened:
        yield opened


def without_audits(rig):
    """Let only commands lead to comparisons."""
    rig.scanner._audit._next_s = float("inf")
    return rig


async def lose_an_execution(chain, pool):
    """Leave tables in which an order is open that the contract has executed."""
    first = await chain.create()
    await chain.create()
    async with open_rig(chain.rpc_url, chain.address, pool, **LOSSY) as rig:
        await without_audits(rig).settle()
    await chain.execute(first)
    await chain.mine(8)
    async with (
        flaky(chain.rpc_url, random.Random(3), 1.0, faults=("lose_logs",)) as proxy,
        open_rig(proxy.url, chain.address, pool, **LOSSY) as rig,
    ):
        await without_audits(rig).settle()
    assert [o["status"] for o in (await dump(pool))["orders"]] == ["PENDING"] * 2


async def is_standing(pool):
    return await pool.fetchval("SELECT status = 'RECOVERY' AND status_seen <> status"
                               " FROM system_state")  # fmt: skip


async def test_a_recovery_may_be_killed_at_any_statement_and_is_taken_up_again(
    chain, database, pool
):
    await chain.send("emitLog", [b"\x77" * 32], b"")
    await lose_an_execution(chain, pool)
    await pool.execute(COMMAND.format("RECOVERY"))
    await save(pool)
    expected = await fresh_scan(chain.rpc_url, chain.address, pool, **LOSSY)
    places = []
    while True:
        await restore(pool)
        fuse = Fuse(len(places) + 1)
        async with (
            open_fused_pool(database, fuse) as fused,
            open_rig(chain.rpc_url, chain.address, fused, **LOSSY) as rig,
        ):
            try:
                await without_audits(rig).settle()
            except (Killed, TransientError):
                assert fuse.killed_at
        if not fuse.killed_at:
            break
        places.append(fuse.killed_at)
        async with open_rig(chain.rpc_url, chain.address, pool, **LOSSY) as rig:
            await without_audits(rig).settle()
        assert await dump(pool) == expected, f"killed after {fuse.killed_at}"
        assert not await is_standing(pool)
    assert await dump(pool) == expected
    assert any("DELETE FROM order_events" in place for place in places)


async def test_a_recovery_that_the_provider_breaks_off_stands_until_it_is_done(chain, pool):
    await lose_an_execution(chain, pool)
    await pool.execute(COMMAND.format("RECOVERY"))
    async with (
        flaky(chain.rpc_url, random.Random(1), 0.0, faults=("http_500",)) as proxy,
        open_rig(proxy.url, chain.address, pool, **LOSSY) as rig,
    ):
        failed = 0
        # Each time one question more is answered before the provider is away.
        for answered in range(1, 30):
            proxy.answered, proxy.rate = answered, 1.0
            try:
                await without_audits(rig).scanner.step()
            except TransientError:
                failed += 1
                assert await is_standing(pool)
            else:
                break
            finally:
                proxy.answered, proxy.rate = 0, 0.0
        assert failed > 2
        await without_audits(rig).settle()
    assert not await is_standing(pool)
    assert await dump(pool) == await fresh_scan(chain.rpc_url, chain.address, pool, **LOSSY)


async def test_a_repair_whose_rollback_fails_is_tried_again(chain, pool, monkeypatch):
    await lose_an_execution(chain, pool)
    async with open_rig(chain.rpc_url, chain.address, pool, **LOSSY) as rig:
        rollback, failures = rig.store.rollback, [TransientError("database: away")]

        async def fail_once(*arguments):
            if failures:
                raise failures.pop()
            return await rollback(*arguments)

        monkeypatch.setattr(rig.store, "rollback", fail_once)
        with pytest.raises(TransientError, match="away"):
            await rig.settle()
        rig.scanner._audit._next_s = 0.0  # the next one is due
        await rig.settle()
    assert await dump(pool) == await fresh_scan(chain.rpc_url, chain.address, pool, **LOSSY)


async def test_a_contract_that_contradicts_its_events_is_read_again_once_and_told(chain, pool):
    """No loop: the audit finds the same every time, and so does the operator's command."""
    await chain.create()
    executed = bytes.fromhex("9b32d7714729bdcd899b9c5460b1ec55a813e10e7a51271f146949e4e19f7b99")
    word = (1).to_bytes(32, "big")
    await chain.send("emitLog", [executed, word, word], word)
    async with open_rig(chain.rpc_url, chain.address, pool, audit_interval_s=0.001) as rig:
        await rig.settle()
        rollbacks = []
        rollback = rig.store.rollback

        async def count(*arguments):
            rollbacks.append(arguments)
            return await rollback(*arguments)

        rig.store.rollback = count
        for _ in range(3):
            await pool.execute(COMMAND.format("RECOVERY"))
            await rig.settle()
            assert not await is_standing(pool)
        for _ in range(10):
            await rig.scanner.step()
    assert len(rollbacks) <= 3
    assert await pool.fetchval("SELECT discrepancies FROM system_state") == 1


async def test_a_reset_that_is_written_during_a_recovery_is_not_lost(chain, pool):
    await chain.create()
    async with open_rig(chain.rpc_url, chain.address, pool) as rig:
        await rig.settle()
        await pool.execute(COMMAND.format("RECOVERY"))
        replay = rig.scanner._audit.replay_dead_letters

        async def replay_late(*arguments):
            await pool.execute(COMMAND.format("RESET"))
            return await replay(*arguments)

        rig.scanner._audit.replay_dead_letters = replay_late
        await rig.scanner.step()
        assert await pool.fetchval("SELECT status FROM system_state") == "RESET"
        await rig.scanner.step()
        assert await pool.fetchval("SELECT count(*) FROM system_state") == 0


async def test_health_tells_that_it_holds_although_a_command_stands(chain, pool):
    await chain.create()
    async with open_rig(chain.rpc_url, chain.address, pool) as rig:
        await rig.settle()
    await pool.execute("UPDATE system_state SET status = 'RECOVERY', genesis_hash = last_hash")
    async with open_rig(chain.rpc_url, chain.address, pool) as rig:
        await rig.scanner.step()
    assert await is_standing(pool)
    bounds = Bounds(has_chain=True, lag_blocks=50, silence_s=60.0, dead_letters=0)
    condition = judge(await Queries(pool).scanner_state(), bounds)
    assert not condition.is_healthy
    assert "foreign chain" in str(condition.facts["problems"])


async def test_a_status_that_is_no_command_is_overwritten(chain, pool):
    await chain.create()
    async with open_rig(chain.rpc_url, chain.address, pool) as rig:
        await rig.settle()
        await pool.execute(COMMAND.format("ERROR"))
        await rig.scanner.step()
    state = await pool.fetchrow("SELECT status, status_seen FROM system_state")
    assert tuple(state) == ("ACTIVE", "ACTIVE")


async def test_after_a_fork_below_finality_was_taken_later_reorgs_are_followed(chain, pool):
    async with open_rig(chain.rpc_url, chain.address, pool, finality_depth=2) as rig:
        for _ in range(6):
            await chain.create()
        await rig.settle()
        await chain.reorg(5)
        await pool.execute(COMMAND.format("RECOVERY"))
        await rig.scanner.step()
        last, final = await pool.fetchrow("SELECT last_block, finalized_block FROM system_state")
        assert final <= last


async def test_tokens_that_another_processor_has_rolled_back_are_stored_again(chain, pool):
    token = await chain.deploy("Token", "SIX", 6)
    await chain.mine(2)
    async with (
        open_rig(chain.rpc_url, chain.address, pool) as rig,
        open_rig(chain.rpc_url, chain.address, pool) as other,
    ):
        await chain.create(token_out=token)
        await rig.settle()
        await chain.reorg(1)
        await other.settle()
        await chain.create(token_out=token)
        await rig.settle()
    assert await dump(pool) == await fresh_scan(chain.rpc_url, chain.address, pool)
