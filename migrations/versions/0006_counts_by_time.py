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
    # Whoever writes the minutes now ends first, and nobody begins until all of this is done. The
    # table itself is kept: with it stay the rights that the services' users have.
    "ALTER TABLE order_counts_by_minute RENAME TO order_counts_by_time",
    "DELETE FROM order_counts_by_time WHERE total = 0",
    """
    ALTER TABLE order_counts_by_time RENAME COLUMN created_minute TO opened_at;
    ALTER TABLE order_counts_by_time
        ADD COLUMN width_s integer NOT NULL DEFAULT 60 CHECK (width_s IN (60, 3600)),
        DROP CONSTRAINT order_counts_by_minute_pkey,
        ADD PRIMARY KEY (status, width_s, opened_at);
    ALTER TABLE order_counts_by_time ALTER COLUMN width_s DROP DEFAULT;
    COMMENT ON TABLE order_counts_by_time IS
        'orders by present status and time of creation: every one in its minute and in its hour';
    COMMENT ON COLUMN order_counts_by_time.width_s IS
        'seconds from opened_at that the row counts'
    """,
    """
    INSERT INTO order_counts_by_time (status, width_s, opened_at, total)
    SELECT status, 3600, date_trunc('hour', opened_at, 'UTC'), sum(total)
    FROM order_counts_by_time GROUP BY 1, 3
    """,
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
    # Whoever had rights on the table has them on the view, from the same moment on.
    """
    DO $$
        DECLARE held record;
        BEGIN
            FOR held IN
                SELECT grantee, string_agg(privilege_type, ', ') AS rights
                FROM information_schema.role_table_grants
                WHERE table_schema = current_schema() AND table_name = 'order_counts_by_time'
                  AND grantee <> current_user AND privilege_type <> 'TRUNCATE'
                GROUP BY grantee
            LOOP
                EXECUTE 'GRANT ' || held.rights || ' ON order_counts_by_minute TO '
                    || CASE held.grantee WHEN 'PUBLIC' THEN 'PUBLIC'
                            ELSE quote_ident(held.grantee) END;
            END LOOP;
        END
    $$
    """,
)


def upgrade() -> None:
    """Add the hours to the table of the minutes; a view takes over its name."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
