# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Any number of orders, made by the database itself, with the numbers that go with them."""

import asyncpg

WHALE = "0x" + "aa" * 20
"""Has half of all orders; of them only every 10,000th is open."""

ORDERS = """
    INSERT INTO orders (order_id, user_address, token_in, token_out, amount_in, target_price,
        min_amount_out, order_type, is_long, self_executable, status, created_at, updated_at,
        tx_hash, block_number, log_index)
    SELECT n, CASE WHEN n % 2 = 0 THEN decode(repeat('aa', 20), 'hex')
                   ELSE decode(lpad(to_hex(n % 5000), 40, '0'), 'hex') END,
           decode(repeat('00', 20), 'hex'), decode(repeat('00', 20), 'hex'), 1000000 + n, 10^18 + n,
           1 + n, n % 2, n % 3 = 0, true,
           CASE WHEN n % 20000 = 0 THEN 'PENDING' WHEN n % 2 = 0 THEN 'EXECUTED'
                WHEN n % 3 = 0 THEN 'CANCELLED' ELSE 'PENDING' END,
           at, at, decode(lpad(to_hex(n), 64, '0'), 'hex'), n / 3, n % 3
    FROM (SELECT n, date_trunc('second', now()) - interval '30 days' * (1 - n::float / $1) AS at
          FROM generate_series(1, $1::bigint) AS n) made
"""
EVENTS = """
    INSERT INTO order_events (block_number, log_index, tx_hash, block_time, order_id, event_type,
                              new_status, event_data)
    SELECT block_number, log_index, tx_hash, created_at, order_id, 'CREATED', 'PENDING', '{}'
    FROM orders
"""
COUNTS = (
    """UPDATE order_counts c SET total = (SELECT count(*) FROM orders o
                                           WHERE o.status = c.status)""",
    """INSERT INTO order_counts_by_time (status, width_s, opened_at, total)
       SELECT status, width_s, date_trunc(unit, created_at, 'UTC'), count(*)
       FROM orders, (VALUES (60, 'minute'), (3600, 'hour')) AS widths(width_s, unit)
       GROUP BY 1, 2, 3""",
    """INSERT INTO order_counts_by_user
       SELECT user_address, status, count(*) FROM orders GROUP BY 1, 2""",
)
TABLES = (
    "orders", "order_events", "order_counts", "order_counts_by_time", "order_counts_by_user",
)  # fmt: skip


async def fill(pool: asyncpg.Pool, count: int) -> None:
    """Make ``count`` orders of the last 30 days, the newest one now; the tables must be empty."""
    await pool.execute(ORDERS, count, timeout=600)
    for statement in (EVENTS, *COUNTS):
        await pool.execute(statement, timeout=600)
    for table in TABLES:
        await pool.execute(f"VACUUM ANALYZE {table}", timeout=600)
