# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Numbers of orders by user, so that a list of a user's orders costs the same however many.

The count of a list was a scan of all the user's orders, and so was a page of the few with a
certain status among many.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    """
    CREATE TABLE order_counts_by_user (
        user_address      bytea       NOT NULL CHECK (octet_length(user_address) = 20),
        status            text        NOT NULL,
        total             bigint      NOT NULL CHECK (total >= 0),
        PRIMARY KEY (user_address, status)
    );
    COMMENT ON TABLE order_counts_by_user IS
        'orders by user and present status, kept in the transaction that changes them'
    """,
    """
    INSERT INTO order_counts_by_user (user_address, status, total)
    SELECT user_address, status, count(*) FROM orders GROUP BY user_address, status
    """,
    """
    CREATE INDEX orders_by_user_and_status
        ON orders (user_address, status, block_number, order_id)
    """,
)


def upgrade() -> None:
    """Create the table from the orders that there are, and the index."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
