# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# ruff: noqa: S608 - statements are made of constants; every value is an argument
"""How many orders there are, by status, time and user: kept with them, in their transaction.

Whoever asks for a number reads a few rows of these tables, however many orders there are.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import asyncpg

from orders import records
from orders.lifecycle import Order

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

MINUTE_S, HOUR_S = 60, 3600
BY_TIME = """
    json_to_recordset($1::json) AS d(status text, width_s int, opened_s bigint, delta bigint)
"""
BY_USER = "json_to_recordset($1::json) AS d(user_address bytea, status text, delta bigint)"
SAME_BUCKET = """
    t.status = d.status AND t.width_s = d.width_s AND t.opened_at = to_timestamp(d.opened_s)
"""
CHANGE_TIMES = (
    f"""
    INSERT INTO order_counts_by_time (status, width_s, opened_at, total)
    SELECT status, width_s, to_timestamp(opened_s), 0 FROM {BY_TIME}
    ON CONFLICT DO NOTHING
    """,
    f"""
    UPDATE order_counts_by_time t SET total = t.total + d.delta FROM {BY_TIME}
    WHERE {SAME_BUCKET}
    """,
    f"""
    DELETE FROM order_counts_by_time t USING {BY_TIME}
    WHERE {SAME_BUCKET} AND t.total = 0
    """,
    f"""
    UPDATE order_counts c SET total = c.total + d.delta
    FROM (SELECT status, sum(delta) AS delta FROM {BY_TIME}
          WHERE width_s = {HOUR_S} GROUP BY status) d
    WHERE c.status = d.status
    """,
)
CHANGE_USERS = (
    f"""
    INSERT INTO order_counts_by_user (user_address, status, total)
    SELECT user_address, status, 0 FROM {BY_USER}
    ON CONFLICT DO NOTHING
    """,
    f"""
    UPDATE order_counts_by_user u SET total = u.total + d.delta FROM {BY_USER}
    WHERE u.user_address = d.user_address AND u.status = d.status
    """,
    f"""
    DELETE FROM order_counts_by_user u USING {BY_USER}
    WHERE u.user_address = d.user_address AND u.status = d.status AND u.total = 0
    """,
)

Before = Mapping[int, Order]
After = Mapping[int, Order | None]


async def change_counts(connection: "Connection", before: Before, after: After) -> None:
    """Write how the numbers change.

    Args:
        connection: The transaction.
        before: The orders that change, as they were; new ones are missing.
        after: The same orders as they will be, None for one that is no more.
    """
    for rows, statements in (
        (time_rows(before, after), CHANGE_TIMES),
        (user_rows(before, after), CHANGE_USERS),
    ):
        if rows:
            encoded = records.encode(rows)
            for statement in statements:
                await connection.execute(statement, encoded)


def time_rows(before: Before, after: After) -> list[dict[str, Any]]:
    """Return how the numbers change by status, minute and hour of creation; arguments as above."""
    minutes: Counter[tuple[str, int]] = Counter()
    for sign, orders in ((-1, before), (1, after)):
        for order in orders.values():
            if order is not None:
                minutes[order.status, order.created_at_s // MINUTE_S * MINUTE_S] += sign
    hours: Counter[tuple[str, int]] = Counter()
    for (status, opened_s), delta in minutes.items():
        hours[status, opened_s // HOUR_S * HOUR_S] += delta
    return [
        {"status": status, "width_s": width_s, "opened_s": opened_s, "delta": delta}
        for width_s, deltas in ((MINUTE_S, minutes), (HOUR_S, hours))
        for (status, opened_s), delta in sorted(deltas.items())
        if delta
    ]


def user_rows(before: Before, after: After) -> list[dict[str, Any]]:
    """Return how the numbers change by user and status; arguments as above."""
    deltas: Counter[tuple[str, str]] = Counter()
    for sign, orders in ((-1, before), (1, after)):
        for order in orders.values():
            if order is not None:
                deltas[order.user, order.status] += sign
    return [
        {"user_address": records.bytea(user), "status": status, "delta": delta}
        for (user, status), delta in sorted(deltas.items())
        if delta
    ]
