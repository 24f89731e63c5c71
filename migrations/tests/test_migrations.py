# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from linkora.settings import DatabaseSettings
from schema.runner import migrate
from schema.settings import Policies
from testkit.postgres import connect, private_postgres

ROOT = Path(__file__).parents[2]

SCHEMA = """
    SELECT table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns
    WHERE table_schema = 'public'
      AND table_name NOT IN (SELECT viewname FROM pg_views WHERE schemaname = 'public')
    ORDER BY table_name, ordinal_position
"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
CHECKS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'p', 'u') ORDER BY 1, 2
"""
TABLES = {
    "candles", "candles_3m", "candles_5m", "candles_15m", "candles_30m", "candles_45m",
    "candles_1h", "candles_2h", "candles_3h", "candles_4h", "candles_1d", "candles_1w",
    "candles_1mo", "orderbook_data", "collector_state", "candle_gaps", "request_bans",
    "service_metrics", "orders", "order_events", "order_counts",
    "processed_events", "system_state", "blocks", "dead_letters", "tokens", "positions",
    "position_events", "alembic_version",
}  # fmt: skip


def start_job(settings: DatabaseSettings, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "main.py"],
        cwd=ROOT / "migrations",
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "common"),
            "DB_HOST": settings.host,
            "DB_PORT": str(settings.port),
            "DB_NAME": settings.name,
            "DB_USER": settings.user,
            "DB_PASSWORD": settings.password.get_secret_value(),
            **variables,
        },
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(job: subprocess.Popen[str]) -> str:
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 0, errors
    return errors


def snapshot(settings: DatabaseSettings) -> list[list[tuple[Any, ...]]]:
    with connect(settings) as connection:
        return [connection.execute(query).fetchall() for query in (SCHEMA, INDEXES, CHECKS)]


def tables(settings: DatabaseSettings) -> set[str]:
    with connect(settings) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in rows}


def test_the_job_makes_every_table_and_a_second_run_changes_nothing(
    empty_database: DatabaseSettings,
) -> None:
    assert '"applied": ["0001"' in finish(start_job(empty_database))
    assert tables(empty_database) >= TABLES
    before = snapshot(empty_database)
    assert '"applied": []' in finish(start_job(empty_database))
    assert snapshot(empty_database) == before


def test_two_jobs_at_once_both_end_well(
    empty_database: DatabaseSettings, database: DatabaseSettings
) -> None:
    jobs = [start_job(empty_database) for _ in range(2)]
    logs = "".join(finish(job) for job in jobs)
    assert logs.count('"applied": ["0001"') == 1
    assert logs.count('"applied": []') == 1
    assert snapshot(empty_database) == snapshot(database)


def test_the_job_waits_for_a_database_that_is_away() -> None:
    with private_postgres() as server:
        server.stop()
        job = start_job(server.settings())
        assert job.stderr is not None
        assert "database_awaited" in job.stderr.readline()
        server.start()
        assert "database_migrated" in finish(job)
        assert tables(server.settings()) >= TABLES


def test_the_job_gives_up_at_once_when_the_database_refuses_the_user() -> None:
    with private_postgres() as server:
        stranger = server.settings().model_copy(update={"user": "stranger"})
        job = start_job(stranger)
        _, errors = job.communicate(timeout=30)
    assert job.returncode == 1
    assert "database_refused_us" in errors


def test_a_wrong_setting_is_named(database: DatabaseSettings) -> None:
    job = start_job(database, ORDERBOOK_RETENTION_DAYS="-1")
    _, errors = job.communicate(timeout=30)
    assert job.returncode == 2
    assert "ORDERBOOK_RETENTION_DAYS='-1'" in errors


def test_postgresql_18_gets_the_same_tables() -> None:
    with private_postgres(18) as server:
        migrate(server.settings())
        assert tables(server.settings()) >= TABLES


def test_both_databases_have_the_same_columns(
    database: DatabaseSettings, timescale_database: DatabaseSettings
) -> None:
    with connect(database) as plain, connect(timescale_database) as timescale:
        assert plain.execute(SCHEMA).fetchall() == timescale.execute(SCHEMA).fetchall()


def test_timescaledb_gets_compressed_hypertables_and_policies(
    timescale_database: DatabaseSettings,
) -> None:
    with connect(timescale_database) as connection:
        compressed = {
            name
            for (name,) in connection.execute(
                "SELECT hypertable_name FROM timescaledb_information.hypertables"
                " WHERE compression_enabled"
            )
        }
    candles = {name for name in TABLES if name.startswith("candles")}
    assert compressed == candles | {"orderbook_data"}
    ages = policy_ages(timescale_database)
    assert ages["candles", "policy_compression"] == "7 days"
    assert ages["candles_1mo", "policy_compression"] == "37 days"
    assert ages["orderbook_data", "policy_compression"] == "1 day"
    assert ages["orderbook_data", "policy_retention"] == "7 days"
    assert ages["service_metrics", "policy_retention"] == "30 days"


def test_a_new_retention_replaces_the_old_one_and_zero_removes_it(
    timescale_database: DatabaseSettings,
) -> None:
    key = ("orderbook_data", "policy_retention")
    try:
        migrate(timescale_database, Policies(books_retention=9))
        assert policy_ages(timescale_database)[key] == "9 days"
        migrate(timescale_database, Policies(books_retention=0))
        assert key not in policy_ages(timescale_database)
    finally:
        migrate(timescale_database, Policies())
    assert policy_ages(timescale_database)[key] == "7 days"


def test_an_unchanged_policy_keeps_its_job(timescale_database: DatabaseSettings) -> None:
    before = job_ids(timescale_database)
    migrate(timescale_database, Policies())
    assert job_ids(timescale_database) == before


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("close_price", "NaN"),
        ("volume", "Infinity"),
        ("taker_buy_quote_volume", "-0.00000001"),
        ("trades", "-1"),
        ("open_time", "2024-01-01 00:00:00.001+00"),
        ("open_time", "2024-01-01 00:00:30+00"),
    ],
)
def test_a_candle_with_an_impossible_value_is_refused(
    either_database: DatabaseSettings, column: str, value: str
) -> None:
    with connect(either_database) as connection, pytest.raises(psycopg.errors.CheckViolation):
        insert_candle(connection, **{column: value})


def test_a_candle_keeps_numbers_of_any_size_exactly(either_database: DatabaseSettings) -> None:
    huge, tiny = "123456789012345678901234.5", "0.000000000000000000001"
    with connect(either_database) as connection:
        insert_candle(connection, volume=huge, low_price=tiny)
        row = connection.execute("SELECT volume::text, low_price::text FROM candles").fetchone()
    assert row == (huge, tiny)


def insert_candle(connection: psycopg.Connection, **changes: str) -> None:
    values = {
        "symbol": "BTCUSDT",
        "open_time": "2024-01-01 00:00:00+00",
        "close_time": "2024-01-01 00:00:59.999+00",
        **dict.fromkeys(("open_price", "high_price", "low_price", "close_price"), "1"),
        **dict.fromkeys(("volume", "quote_volume", "trades"), "0"),
        **dict.fromkeys(("taker_buy_volume", "taker_buy_quote_volume"), "0"),
        "is_closed": "true",
        **changes,
    }
    literals = ", ".join(f"'{value}'" for value in values.values())
    connection.execute(f"INSERT INTO candles ({', '.join(values)}) VALUES ({literals})")


def policy_ages(settings: DatabaseSettings) -> dict[tuple[str, str], str]:
    with connect(settings) as connection:
        rows = connection.execute(
            "SELECT hypertable_name, proc_name,"
            " coalesce(config->>'compress_after', config->>'drop_after')"
            " FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL"
        ).fetchall()
    return {(table, policy): age for table, policy, age in rows}


def job_ids(settings: DatabaseSettings) -> list[tuple[int]]:
    with connect(settings) as connection:
        return connection.execute(
            "SELECT job_id FROM timescaledb_information.jobs ORDER BY 1"
        ).fetchall()


def test_a_job_that_waits_says_so_again_and_again() -> None:
    with private_postgres() as server:
        server.stop()
        job = start_job(server.settings())
        assert job.stderr is not None
        lines = [job.stderr.readline() for _ in range(3)]
        job.terminate()
        job.communicate(timeout=10)
    assert all("database_awaited" in line for line in lines)
