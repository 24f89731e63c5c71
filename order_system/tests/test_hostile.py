# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A contract and tokens that mean ill: stored exactly or set aside, and the scan goes on."""

import asyncio

import pytest
from chainkit.nodes import on_both_nodes
from chainkit.rig import dump, fresh_scan, open_rig

from localchain.testing import ETH
from orders.batch import Batch
from orders.chain.blocks import Header
from orders.chain.decode import LOG_FORMS
from orders.outcomes import Incomplete
from orders.queries import Queries
from orders.range_store import MAX_MISSING, check_ids
from orders.views import order_view

MOST = 2**256 - 1
CREATED, EXECUTED, CANCELLED, MODIFIED, OPENED, *_ = (bytes.fromhex(t[2:]) for t in LOG_FORMS)


def word(value):
    return value.to_bytes(32, "big")


@on_both_nodes
async def test_orphans_change_nothing_and_a_later_creation_starts_afresh(chain, rig, pool):
    await chain.cancel(2, user=ETH)
    await chain.modify(3, 5, 6, user=ETH)
    await chain.modify(MOST, 5, 6, user=ETH)
    for _ in range(3):
        await chain.create(target_price=100, min_amount_out=200)
    await rig.settle()
    tables = await dump(pool)
    assert [(o["order_id"], o["status"], o["target_price"]) for o in tables["orders"]] == [
        (1, "PENDING", 100), (2, "PENDING", 100), (3, "PENDING", 100),
    ]  # fmt: skip
    orphans = [e for e in tables["order_events"] if e["new_status"] is None]
    assert [e["order_id"] for e in orphans] == [2, 3, MOST]
    assert tables["dead_letters"] == []


async def test_the_largest_numbers_are_stored_and_shown_digit_for_digit(chain, rig, pool):
    token = await chain.deploy("Token", "LONG", 77)
    await chain.create(
        token_in=token, token_out=token, amount_in=MOST, target_price=MOST, min_amount_out=MOST
    )
    await chain.execute(1)
    await rig.settle()
    found = await Queries(pool).order(1)
    assert found is not None
    view = order_view(*found)
    digits = str(MOST)
    assert view.amount_in_raw == view.amount_out_raw == view.target_price_raw == digits
    assert view.amount_in == digits[:1] + "." + digits[1:]
    assert view.target_price == digits[:60] + "." + digits[60:]


@on_both_nodes
@pytest.mark.parametrize(("kind", "symbol"), [("RevertingToken", None), ("AbsurdToken", "ABSURD")])
async def test_tokens_that_do_not_tell_their_decimals_count_as_having_none(
    kind, symbol, chain, rig, pool
):
    token = await chain.deploy(kind)
    nobody = "0x" + "77" * 20  # no contract at all
    await chain.create(token_in=token, token_out=nobody, amount_in=1500, min_amount_out=7)
    await rig.settle()
    found = await Queries(pool).order(1)
    assert found is not None
    view = order_view(*found)
    assert (view.amount_in, view.min_amount_out) == ("1500", "7")
    assert (view.token_in_decimals, view.token_out_decimals) == (None, None)
    assert view.token_in_symbol == symbol


@pytest.mark.parametrize(
    ("topics", "data"),
    [
        ([CREATED, word(1)], b""),
        ([CREATED, word(9), word(1)], word(1) * 3),
        ([CREATED, word(MOST), word(1)], word(1) * 3),
        ([CREATED, word(9), word(1)], word(1) * 4),
        ([CREATED, word(9), word(MOST)], word(1) * 3),
        ([EXECUTED, word(1)], word(1)),
        ([CANCELLED], b""),
        ([MODIFIED, word(1)], word(1)),
        ([OPENED, word(5), word(1)], word(1) * 2),
    ],
)
async def test_logs_that_cannot_be_applied_are_set_aside_and_the_scan_goes_on(
    topics, data, chain, rig, pool
):
    await chain.create()
    await chain.send("emitLog", topics, data)
    await chain.create()
    await rig.settle()
    tables = await dump(pool)
    assert [o["order_id"] for o in tables["orders"]] == [1, 2]
    assert len(tables["dead_letters"]) == 1
    assert rig.scanner.progress.status == "ACTIVE"


@on_both_nodes
async def test_forged_events_of_known_orders_are_told_as_they_come(chain, rig, pool):
    """Status comes from events only, even where the contract contradicts itself."""
    await chain.create()
    await chain.send("emitLog", [EXECUTED, word(1), word(1)], word(5))
    await chain.send("emitLog", [CREATED, word(1), word(1)], word(1) * 3)
    await rig.settle()
    tables = await dump(pool)
    assert [o["status"] for o in tables["orders"]] == ["EXECUTED"]
    assert rig.scanner.progress.status == "ACTIVE"
    assert tables == await fresh_scan(chain.rpc_url, chain.address, pool)


@on_both_nodes
async def test_many_events_of_one_order_in_one_block_keep_their_order(chain, rig, pool):
    encode = chain.trading.artifact.calldata
    calls = [
        bytes.fromhex(encode(name, *arguments)[2:])
        for name, *arguments in (
            ("createLimitOrder", chain.users[0], ETH, ETH, 5, 10, 20, True),
            ("modifyOrder", chain.users[0], 1, 11, 21),
            ("modifyOrder", chain.users[0], 1, 12, 22),
            ("cancelOrder", chain.users[0], 1),
            ("createLimitOrder", chain.users[0], ETH, ETH, 6, 10, 20, True),
            ("executeOrder", 2),
        )
    ]
    await chain.send("multicall", calls)
    await rig.settle()
    tables = await dump(pool)
    assert [(o["status"], o["target_price"]) for o in tables["orders"]] == [
        ("CANCELLED", 12), ("EXECUTED", 10),
    ]  # fmt: skip
    assert [e["event_type"] for e in tables["order_events"]] == [
        "CREATED", "MODIFIED", "MODIFIED", "CANCELLED", "CREATED", "EXECUTED",
    ]  # fmt: skip


async def test_what_the_database_refuses_is_set_aside_alone_and_replayed_by_a_recovery(
    chain, rig, pool
):
    await pool.execute("ALTER TABLE orders ADD CONSTRAINT odd CHECK (amount_in <> 13)")
    async with chain.one_block():
        await chain.create(amount_in=12)
        await chain.create(amount_in=13)
        await chain.create(amount_in=14)
    await chain.execute(2)
    await chain.execute(3)
    await rig.settle()
    tables = await dump(pool)
    assert [o["order_id"] for o in tables["orders"]] == [1, 3]
    assert len(tables["dead_letters"]) == 1
    await pool.execute("UPDATE system_state SET status = 'RECOVERY'")
    await rig.settle()  # it is still refused: it stays where it is, and the scan goes on
    assert await dump(pool) == tables
    await pool.execute("ALTER TABLE orders DROP CONSTRAINT odd")
    await pool.execute("UPDATE system_state SET status = 'RECOVERY'")
    await rig.settle()
    assert await dump(pool) == await fresh_scan(chain.rpc_url, chain.address, pool)
    assert (await dump(pool))["orders"][1]["status"] == "EXECUTED"


async def test_ids_without_orders_are_named_beyond_the_known_ones_however_many(pool):
    header = Header(1, "0x01", "0x00", 0)
    batch = Batch("0x00", (header,), (), (), (), {}, next_order_id=2501, next_position_id=None)
    async with pool.acquire() as connection:
        with pytest.raises(Incomplete) as found:
            await check_ids(connection, batch, 1, holes=MAX_MISSING)
        assert found.value.missing == list(range(1, 2 * MAX_MISSING + 1))
        await check_ids(connection, batch, 1, holes=2500)


@on_both_nodes
async def test_positions_are_followed_to_their_end(chain, rig, pool):
    token = await chain.deploy("Token", "SIX", 6)
    for _ in range(3):
        await chain.send("openPosition", chain.users[0], token, 10**6, 5, 1, 2 * 10**18)
    await chain.send("closePosition", 1, -(2**255))
    await chain.send("liquidatePosition", 2, -7, sender=chain.users[1])
    await rig.settle()
    positions = (await dump(pool))["positions"]
    assert [p["status"] for p in positions] == ["CLOSED", "LIQUIDATED", "OPEN"]
    assert positions[0]["pnl"] == -(2**255)
    assert positions[1]["liquidator"].hex() == chain.users[1][2:]
    assert positions[2]["leverage"] == 5
    assert positions[2]["size"] == 5 * 10**6


@on_both_nodes
async def test_an_operators_reset_is_obeyed(chain, rig, pool):
    await chain.create()
    await rig.settle()
    expected = await dump(pool)
    await pool.execute("UPDATE orders SET amount_in = 1; UPDATE system_state SET status = 'RESET'")
    await rig.settle()
    assert await dump(pool) == expected


async def test_a_fork_below_the_final_block_holds_until_an_operator_takes_it(chain, pool):
    async with open_rig(chain.rpc_url, chain.address, pool, finality_depth=2) as rig:
        for _ in range(6):
            await chain.create()
        await rig.settle()
        await chain.reorg(5)
        await rig.settle()
        assert rig.scanner.progress.status == "ERROR"
        assert "below the final block" in rig.scanner.progress.detail
        assert len((await dump(pool))["orders"]) == 6
        await pool.execute("UPDATE system_state SET status = 'RECOVERY'")
        await rig.settle()
        assert rig.scanner.progress.status == "ACTIVE"
        assert len((await dump(pool))["orders"]) == 1
        assert await dump(pool) == await fresh_scan(chain.rpc_url, chain.address, pool)


async def test_two_processors_at_once_do_no_harm(chain, rig, pool):
    async with open_rig(chain.rpc_url, chain.address, pool, tip_batch_blocks=1) as other:
        for number in range(6):
            await chain.create()
            if number == 3:
                await chain.reorg(2)
            await asyncio.gather(rig.settle(), other.settle())
    assert await dump(pool) == await fresh_scan(chain.rpc_url, chain.address, pool)
