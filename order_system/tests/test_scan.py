# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The scanner on a real node and a real database."""

from chainkit.nodes import on_both_nodes
from chainkit.rig import dump


async def rows(pool, table):
    return (await dump(pool))[table]


@on_both_nodes
async def test_orders_go_through_their_whole_life(chain, rig, pool):
    first = await chain.create(amount_in=5 * 10**18, target_price=7, min_amount_out=9)
    second = await chain.create_stop()
    third = await chain.create()
    await chain.modify(first, 11, 13)
    await chain.execute(first)
    await chain.cancel(second)
    await rig.settle()
    orders = {row["order_id"]: row for row in await rows(pool, "orders")}
    assert orders[first]["status"] == "EXECUTED"
    assert orders[first]["target_price"] == 11
    assert orders[first]["amount_out"] == 13
    assert orders[first]["executor_address"].hex() == chain.users[2][2:]
    assert orders[second]["status"] == "CANCELLED"
    assert orders[second]["order_type"] == 1
    assert orders[third]["status"] == "PENDING"
    events = [(r["order_id"], r["event_type"]) for r in await rows(pool, "order_events")]
    assert events == [
        (first, "CREATED"), (second, "CREATED"), (third, "CREATED"),
        (first, "MODIFIED"), (first, "EXECUTED"), (second, "CANCELLED"),
    ]  # fmt: skip
    counts = {r["status"]: r["total"] for r in await rows(pool, "order_counts")}
    assert counts == {"PENDING": 1, "EXECUTED": 1, "CANCELLED": 1}
