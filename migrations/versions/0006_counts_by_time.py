# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Numbers of orders by hour beside those by minute, so that a day is some eighty rows to add up.

A day of minutes was up to 1,440 rows a status. The table gets another name with its new key; under
the old one stays a view, for the APIs of the release before. An event processor of that release,
which would keep the minutes and not the hours, is told that there is no table to write into: for
that it waits, and is replaced meanwhile.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    # Whoever writes the minutes now ends first, and nobody begins until all of this is done.
    "LOCK TABLE order_counts_by_minute IN ACCESS EXCLUSIVE MODE",
    """
    CREATE TABLE order_counts_by_time (
        status            text        NOT NULL,
        width_s           integer     NOT NULL CHECK (width_s IN (60, 3600)),
        opened_at         timestamptz NOT NULL,
        total             bigint      NOT NULL CHECK (total >= 0),
        PRIMARY KEY (status, width_s, opened_at)
    );
    COMMENT ON TABLE order_counts_by_time IS
        'orders by present status and time of creation: every one in its minute and in its hour';
    COMMENT ON COLUMN order_counts_by_time.width_s IS
        'seconds from opened_at that the row counts'
    """,
    """
    INSERT INTO order_counts_by_time (status, width_s, opened_at, total)
    SELECT status, 60, created_minute, total FROM order_counts_by_minute WHERE total > 0
    UNION ALL
    SELECT status, 3600, date_trunc('hour', created_minute, 'UTC'), sum(total)
    FROM order_counts_by_minute WHERE total > 0 GROUP BY 1, 3
    """,
    "DROP TABLE order_counts_by_minute",
    """
    CREATE VIEW order_counts_by_minute AS
        SELECT status, opened_at AS created_minute, total FROM order_counts_by_time
        WHERE width_s = 60;
    COMMENT ON VIEW order_counts_by_minute IS 'for the release before: read by its APIs only';
    CREATE FUNCTION refuse_counts_by_minute() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE undefined_table USING MESSAGE = 'the counts are in order_counts_by_time now';
        END
    $$;
    CREATE TRIGGER refuse INSTEAD OF INSERT OR UPDATE OR DELETE ON order_counts_by_minute
        FOR EACH ROW EXECUTE FUNCTION refuse_counts_by_minute()
    """,
)


def upgrade() -> None:
    """Create the table from the minutes that there are; a view takes the place of theirs."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
