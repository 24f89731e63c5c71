# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""0006 makes the hours of the minutes that a database in use has."""

import secrets

import psycopg
import pytest
from alembic import command

from linkora.settings import DatabaseSettings
from schema.runner import alembic_config, create_engine, migrate
from testkit.postgres import connect

MINUTES = """
    INSERT INTO order_counts_by_minute (status, created_minute, total) VALUES
        ('PENDING', '2026-11-22 10:00+00', 3), ('PENDING', '2026-11-22 10:59+00', 4),
        ('PENDING', '2026-11-22 11:00+00', 5), ('EXECUTED', '2026-11-22 10:30+00', 7),
        ('EXECUTED', '2026-11-22 12:30+00', 0)
"""
EXPECTED = [
    ("EXECUTED", 60, "2026-11-22 10:30", 7),
    ("EXECUTED", 3600, "2026-11-22 10:00", 7),
    ("PENDING", 60, "2026-11-22 10:00", 3),
    ("PENDING", 60, "2026-11-22 10:59", 4),
    ("PENDING", 60, "2026-11-22 11:00", 5),
    ("PENDING", 3600, "2026-11-22 10:00", 7),
    ("PENDING", 3600, "2026-11-22 11:00", 5),
]
MINUTES_OF_THE_RELEASE_BEFORE = """
    SELECT status, sum(total) FROM order_counts_by_minute
    WHERE created_minute > '2026-11-22 10:00+00' GROUP BY 1 ORDER BY 1
"""
WRITE_OF_THE_RELEASE_BEFORE = """
    INSERT INTO order_counts_by_minute (status, created_minute, total)
    SELECT 'PENDING', to_timestamp(0), 0 ON CONFLICT DO NOTHING
"""
ROWS = """
    SELECT status, width_s, to_char(opened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), total
    FROM order_counts_by_time ORDER BY 1, 2, 3
"""


def migrate_to(settings: DatabaseSettings, revision: str) -> None:
    engine = create_engine(settings)
    with engine.connect() as connection:
        command.upgrade(alembic_config(connection), revision)
        connection.commit()
    engine.dispose()


def test_the_hours_are_made_of_the_minutes_and_no_order_is_lost(
    empty_database: DatabaseSettings,
) -> None:
    migrate_to(empty_database, "0005")
    with connect(empty_database) as connection:
        connection.execute(MINUTES)
        assert migrate(empty_database)[:1] == ["0006"]
        assert connection.execute(ROWS).fetchall() == EXPECTED


def test_the_release_before_reads_the_minutes_and_waits_before_it_writes_any(
    empty_database: DatabaseSettings,
) -> None:
    migrate_to(empty_database, "0005")
    with connect(empty_database) as connection:
        connection.execute(MINUTES)
        before = connection.execute(MINUTES_OF_THE_RELEASE_BEFORE).fetchall()
        assert before == [("EXECUTED", 7), ("PENDING", 9)]
        migrate_to(empty_database, "0006")
        assert connection.execute(MINUTES_OF_THE_RELEASE_BEFORE).fetchall() == before
        # Its event processor takes this for a database behind in its migrations, and waits.
        with pytest.raises(psycopg.errors.UndefinedTable, match="order_counts_by_time"):
            connection.execute(WRITE_OF_THE_RELEASE_BEFORE)


def test_rights_go_over_with_the_migration_itself(empty_database: DatabaseSettings) -> None:
    migrate_to(empty_database, "0005")
    with connect(empty_database) as connection:
        reader = f"reader_{secrets.token_hex(4)}"
        connection.execute(f"CREATE ROLE {reader}")
        connection.execute(f"GRANT SELECT ON order_counts_by_minute TO {reader}")
        connection.execute("GRANT SELECT ON order_counts_by_minute TO PUBLIC")
        try:
            migrate_to(empty_database, "0006")
            for table in ("order_counts_by_minute", "order_counts_by_time"):
                rights = [
                    connection.execute(
                        "SELECT has_table_privilege(%s, %s, %s)", (reader, table, right)
                    ).fetchone()
                    for right in ("SELECT", "INSERT")
                ]
                assert rights == [(True,), (False,)]
        finally:
            connection.execute(f"DROP OWNED BY {reader}; DROP ROLE {reader}")
