# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Every SELECT of the order API. Each answer is one snapshot of the database."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from linkora.database import transient_errors
from orders.condition import ScannerState
from orders.lifecycle import Order, Position
from orders.params import MAX_ID, OrderFilter, Page
from orders.rows import (
    ORDER_COLUMNS,
    POSITION_COLUMNS,
    OrderEvent,
    OrderPage,
    Token,
    order_of,
    position_of,
    to_bytes,
    token_of,
)

COUNT_BY_STATUS = "SELECT coalesce(sum(total), 0)::bigint FROM order_counts WHERE status = ANY($1)"
COUNT_OF_USER = """
    SELECT coalesce(sum(total), 0)::bigint FROM order_counts_by_user
    WHERE user_address = $1 AND status = ANY($2)
"""
ORDER_BY_ID = f"SELECT {ORDER_COLUMNS} FROM orders WHERE order_id = $1"  # noqa: S608 - a constant
EVENTS_OF_ORDER = """
    SELECT event_type, old_status, new_status, tx_hash, block_number, log_index,
           extract(epoch from block_time)::bigint AS time_s, event_data::text
    FROM order_events WHERE order_id = $1 ORDER BY block_number, log_index LIMIT $2
"""
COUNT_EVENTS = "SELECT count(*) FROM order_events WHERE order_id = $1"
# Ids that no order can have are those of orphan events.
NEWEST_EVENTS = f"""
    SELECT order_id::bigint AS order_id FROM order_events WHERE order_id <= {MAX_ID}
    ORDER BY block_number DESC, log_index DESC LIMIT $1
"""  # noqa: S608 - a constant
EVENTS_PER_ORDER = 10
"""Newest events that are looked through for each order that is wanted."""
ORDERS_BY_ID = f"SELECT {ORDER_COLUMNS} FROM orders WHERE order_id = ANY($1)"  # noqa: S608
TOKENS = "SELECT address, symbol, decimals, is_assumed FROM tokens WHERE address = ANY($1)"
COUNT_POSITIONS = "SELECT count(*) FROM positions WHERE user_address = $1"
POSITIONS_OF_USER = f"""
    SELECT {POSITION_COLUMNS} FROM positions WHERE user_address = $1
    ORDER BY block_number DESC, position_id DESC LIMIT $2 OFFSET $3
"""  # noqa: S608 - a constant
# The minute in which the day begins is counted order by order, the other minutes of its first
# hour by their sums, and the hours after it by theirs.
STATISTICS = """
    SELECT c.status, c.total,
           (SELECT count(*) FROM orders o
            WHERE o.status = c.status AND o.created_at >= $1 AND o.created_at < next_minute)
           + coalesce((SELECT sum(t.total) FROM order_counts_by_time t
                       WHERE t.status = c.status AND t.width_s = 60
                         AND t.opened_at >= next_minute AND t.opened_at < next_hour), 0)
           + coalesce((SELECT sum(t.total) FROM order_counts_by_time t
                       WHERE t.status = c.status AND t.width_s = 3600
                         AND t.opened_at >= next_hour), 0) AS last_24h
    FROM order_counts c,
         (SELECT date_trunc('minute', $1::timestamptz, 'UTC') + interval '1 minute' AS next_minute,
                 date_trunc('hour', $1::timestamptz, 'UTC') + interval '1 hour' AS next_hour) since
"""
STATE = """
    SELECT status, status_seen, detail, chain_id::bigint AS chain_id, contract_address,
           start_block, last_block,
           extract(epoch from last_block_time)::bigint AS last_block_time_s, head_block,
           finalized_block, discrepancies, extract(epoch from now() - updated_at) AS silence_s,
           extract(epoch from now() - active_at)::float8 AS inactive_s,
           (SELECT count(*) FROM dead_letters WHERE source = system_state.component
                                                AND resolved_at IS NULL) AS dead_letters
    FROM system_state WHERE component = 'order_events'
"""

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]


class Queries:
    """Reads for the order API; each raises ``TransientError`` while the database is away."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def ping(self) -> None:
        """Return if the database answers."""
        async with self._snapshot() as connection:
            await connection.fetchval("SELECT 1")

    async def orders(self, chosen: OrderFilter, page: Page) -> OrderPage:
        """Return a page of orders, stable by block and id, counted in the same snapshot."""
        async with self._snapshot() as connection:
            statuses = [chosen.status] if chosen.status else ["PENDING", "EXECUTED", "CANCELLED"]
            if chosen.user:
                user = to_bytes(chosen.user)
                total = await connection.fetchval(COUNT_OF_USER, user, statuses)
            else:
                total = await connection.fetchval(COUNT_BY_STATUS, statuses)
            sql, arguments = _page_query(chosen, page, total)
            rows = await connection.fetch(sql, *arguments)
            orders = [order_of(row) for row in rows[: page.limit]]
            tokens = await _tokens_of(connection, orders)
        return OrderPage(orders, total, len(rows) > page.limit, tokens)

    async def changed_lately(self, most: int) -> tuple[list[Order], dict[str, Token]] | None:
        """Return the ``most`` orders that changed last, by block and id, and their tokens.

        None if they have more events than are looked through.
        """
        events = most * EVENTS_PER_ORDER
        async with self._snapshot() as connection:
            found = [row["order_id"] for row in await connection.fetch(NEWEST_EVENTS, events)]
            newest = list(dict.fromkeys(found))[:most]
            if len(found) == events and len(newest) < most:
                return None
            orders = [order_of(row) for row in await connection.fetch(ORDERS_BY_ID, newest)]
            orders.sort(key=lambda order: (order.block_number, order.id))
            return orders, await _tokens_of(connection, orders)

    async def orders_by_id(self, ids: Sequence[int]) -> tuple[list[Order], dict[str, Token]]:
        """Return those orders that there are, by id, and their tokens."""
        async with self._snapshot() as connection:
            orders = [order_of(row) for row in await connection.fetch(ORDERS_BY_ID, ids)]
            return sorted(orders, key=lambda order: order.id), await _tokens_of(connection, orders)

    async def order(self, order_id: int) -> tuple[Order, dict[str, Token]] | None:
        """Return an order and its tokens, or None."""
        async with self._snapshot() as connection:
            row = await connection.fetchrow(ORDER_BY_ID, order_id)
            if row is None:
                return None
            order = order_of(row)
            return order, await _tokens(connection, (order.token_in, order.token_out))

    async def events(
        self, order_id: int, limit: int
    ) -> tuple[list[OrderEvent], int, Order | None, dict[str, Token]]:
        """Return the first events of an id, how many it has, the order (if any) and its tokens."""
        async with self._snapshot() as connection:
            total = await connection.fetchval(COUNT_EVENTS, order_id)
            rows = await connection.fetch(EVENTS_OF_ORDER, order_id, limit)
            row = await connection.fetchrow(ORDER_BY_ID, order_id)
            order = order_of(row) if row else None
            named = (order.token_in, order.token_out) if order else ()
            return [_event_of(r) for r in rows], total, order, await _tokens(connection, named)

    async def positions(
        self, user: str, page: Page
    ) -> tuple[list[Position], int, dict[str, Token]]:
        """Return a page of a user's positions, newest first, their number and their tokens."""
        async with self._snapshot() as connection:
            total = await connection.fetchval(COUNT_POSITIONS, to_bytes(user))
            rows = await connection.fetch(
                POSITIONS_OF_USER, to_bytes(user), page.limit, page.offset
            )
            positions = [position_of(row) for row in rows]
            return positions, total, await _tokens(connection, (p.token for p in positions))

    async def statistics(self, since: datetime) -> dict[str, tuple[int, int]]:
        """Return, by status, how many orders there are and how many were created since."""
        async with self._snapshot() as connection:
            rows = await connection.fetch(STATISTICS, since.astimezone(UTC))
        return {row["status"]: (row["total"], int(row["last_24h"])) for row in rows}

    async def scanner_state(self) -> ScannerState | None:
        """Return the event processor's state, or None if it has never followed a chain."""
        async with self._snapshot() as connection:
            row = await connection.fetchrow(STATE)
        if row is None:
            return None
        fields = {name: row[name] for name in ScannerState.__struct_fields__}
        return ScannerState(**fields | {"silence_s": float(row["silence_s"])})

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator["Connection"]:
        with transient_errors():
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield connection


async def _tokens_of(connection: "Connection", orders: Iterable[Order]) -> dict[str, Token]:
    return await _tokens(connection, (a for o in orders for a in (o.token_in, o.token_out)))


async def _tokens(connection: "Connection", addresses: Iterable[str]) -> dict[str, Token]:
    wanted = [to_bytes(address) for address in sorted(set(addresses))]
    if not wanted:
        return {}
    tokens = [token_of(row) for row in await connection.fetch(TOKENS, wanted)]
    return {token.address: token for token in tokens}


def _page_query(chosen: OrderFilter, page: Page, total: int) -> tuple[str, list[Any]]:
    """Return the SELECT of a page: a stretch of the one index that begins with what is chosen.

    It reads one row more than the page has, which tells whether anything comes after.
    Rows are compared as wholes and sorted by all of the index's columns, so that no other index
    gives this order. With ``user = ... AND status = ...`` the planner may go through all orders by
    block instead, if it thinks that every second one will do, and find the few there are at the
    end. The price: with user and status the scan ends where the user ends, not the status. So it
    asks for no more rows than ``total``, the number of all that are chosen, leaves: the scan ends
    with the last of them. Only behind a cursor nobody knows how many those are.
    """
    most = page.limit + 1
    if page.after is None:
        most = min(most, max(0, total - page.offset))
    filters: dict[str, Any] = {}
    if chosen.user:
        filters["user_address"] = to_bytes(chosen.user)
    if chosen.status:
        filters["status"] = chosen.status
    columns = [*filters, "block_number", "order_id"]
    low, high = (-1, -1), (MAX_ID, MAX_ID)
    if page.after:
        low, high = (low, page.after) if page.is_descending else (page.after, high)
    places = [f"${number}" for number in range(1, len(filters) + 5)]
    common, ends = places[: len(filters)], places[len(filters) :]
    key = f"({', '.join(columns)})"
    direction = "DESC" if page.is_descending else "ASC"
    sql = f"""
        SELECT {ORDER_COLUMNS} FROM orders
        WHERE {key} > ({", ".join([*common, *ends[:2]])})
          AND {key} < ({", ".join([*common, *ends[2:]])})
        ORDER BY {", ".join(f"{column} {direction}" for column in columns)}
        LIMIT ${len(places) + 1} OFFSET ${len(places) + 2}
    """  # noqa: S608 - made of constants; every value is an argument
    return sql, [*filters.values(), *low, *high, most, page.offset]


def _event_of(row: asyncpg.Record) -> OrderEvent:
    return OrderEvent(
        event_type=row["event_type"],
        old_status=row["old_status"],
        new_status=row["new_status"],
        tx_hash="0x" + row["tx_hash"].hex(),
        block_number=row["block_number"],
        log_index=row["log_index"],
        time_s=row["time_s"],
        data=msgspec.json.decode(row["event_data"]),
    )
