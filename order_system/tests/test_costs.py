# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What answers read of the database: rows, not seconds. Times: benchmarks/order_queries.py."""

import itertools
import json
from datetime import UTC, datetime, timedelta

from chainkit.many_orders import WHALE, fill

from orders import queries
from orders.params import OrderFilter, Page
from orders.rows import to_bytes

ORDERS = 50_000
STATUSES = ["PENDING", "EXECUTED", "CANCELLED"]
MINUTES, HOURS = 59, 25
"""Whole ones that the 24 hours from any moment on may have, the present hour included."""


async def rows_read(pool, sql, *arguments):
    """Return how many rows the statement takes out of tables and indexes."""
    plan = json.loads(
        await pool.fetchval(f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {sql}", *arguments)
    )

    def of_node(node):
        below = sum(of_node(child) for child in node.get("Plans", ()))
        if below or "Relation Name" not in node:
            return below
        read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        return (read + node.get("Rows Removed by Index Recheck", 0)) * node["Actual Loops"]

    return of_node(plan[0]["Plan"])


async def test_the_counts_that_the_events_lead_to_are_those_of_the_orders(chain, rig, pool):
    for number in range(6):
        await chain.create(user=chain.users[number % 2])
    await chain.execute(2)
    await chain.cancel(3)
    await rig.settle()
    await chain.reorg(1)  # the cancellation is gone, and two more come
    await chain.create()
    await rig.settle()
    counted = await pool.fetch(
        "SELECT user_address, status, count(*) AS total FROM orders GROUP BY 1, 2 ORDER BY 1, 2"
    )
    kept = await pool.fetch("SELECT * FROM order_counts_by_user ORDER BY 1, 2")
    assert [dict(row) for row in kept] == [dict(row) for row in counted]
    assert len(kept) == 3
    counted = await pool.fetch("""
        SELECT status, width_s, date_trunc(unit, created_at, 'UTC') AS opened_at, count(*) AS total
        FROM orders, (VALUES (60, 'minute'), (3600, 'hour')) AS widths(width_s, unit)
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """)
    kept = await pool.fetch(
        "SELECT * FROM order_counts_by_time ORDER BY status, width_s, opened_at"
    )
    assert [dict(row) for row in kept] == [dict(row) for row in counted]
    assert len(kept) >= 4


async def test_statistics_read_as_many_rows_however_many_orders_there_are(pool):
    await fill(pool, 10)
    since = datetime.now(UTC) - timedelta(days=1)
    with_ten = await rows_read(pool, queries.STATISTICS, since)
    await pool.execute("TRUNCATE orders, order_events, order_counts_by_time, order_counts_by_user")
    await fill(pool, ORDERS)
    with_many = await rows_read(pool, queries.STATISTICS, since)
    at_most = len(STATUSES) * (1 + MINUTES + HOURS) + 5  # and the orders of one minute
    assert with_ten <= at_most
    assert with_many <= at_most < ORDERS / 100


async def test_statistics_count_exactly_from_any_moment_on(pool):
    await fill(pool, ORDERS)
    newest = await pool.fetchval("SELECT max(created_at) FROM orders")
    hour = newest.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    moments = [hour, hour + timedelta(microseconds=1), hour - timedelta(microseconds=1)]
    moments += [hour + timedelta(minutes=minutes, seconds=seconds)
                for minutes in (0, 1, 31, 58, 59) for seconds in (0, 0.5, 1, 29, 59.5)]  # fmt: skip
    moments += [newest, newest + timedelta(seconds=1), newest - timedelta(days=29)]
    for since in moments:
        counted = await pool.fetch(
            "SELECT status, count(*) AS n FROM orders WHERE created_at >= $1 GROUP BY 1", since
        )
        kept = {row["status"]: int(row["last_24h"])
                for row in await pool.fetch(queries.STATISTICS, since)}  # fmt: skip
        assert kept == dict.fromkeys(STATUSES, 0) | {row["status"]: row["n"] for row in counted}


async def test_a_page_and_its_count_read_little_more_than_the_page(pool):
    await fill(pool, ORDERS)
    limit, read = 20, {}
    for status, user, after in itertools.product(
        (None, "PENDING"), (None, WHALE), (None, (ORDERS // 6, ORDERS // 2))
    ):
        sql, arguments = queries._page_query(
            OrderFilter(status, user), Page(limit, 0, after), ORDERS
        )
        read[status, user, after] = await rows_read(pool, sql, *arguments)
    assert max(read.values()) <= limit + 1, read  # the one after tells that there is more
    count_of_user = await rows_read(pool, queries.COUNT_OF_USER, to_bytes(WHALE), STATUSES)
    assert count_of_user <= len(STATUSES)
    assert await rows_read(pool, queries.COUNT_BY_STATUS, STATUSES) <= len(STATUSES)


async def pages_touched(pool, sql, *arguments):
    """Return how many pages of tables and indexes the statement looks at."""
    plan = json.loads(
        await pool.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) {sql}", *arguments)
    )[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


async def test_a_users_few_open_orders_are_found_without_a_walk_through_his_others(pool):
    await fill(pool, ORDERS)
    chosen, page = OrderFilter("PENDING", WHALE), Page(20)
    whole, arguments = queries._page_query(chosen, page, ORDERS)
    walk = await pages_touched(pool, whole, *arguments)
    sql, arguments = queries._page_query(chosen, page, 2)
    assert len(await pool.fetch(sql, *arguments)) == 2
    assert await pages_touched(pool, sql, *arguments) < 20 < walk / 3
