# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The one difference between TimescaleDB and plain PostgreSQL: chunks, compression, retention."""

import json
from typing import Any

import sqlalchemy

from schema.settings import Policies

# Width of the widest candle of a table: a chunk that still holds a running candle must not be
# compressed yet. In days, rounded up.
CANDLE_TABLES = {
    "candles": 1,
    "candles_3m": 1,
    "candles_5m": 1,
    "candles_15m": 1,
    "candles_30m": 1,
    "candles_45m": 1,
    "candles_1h": 1,
    "candles_2h": 1,
    "candles_3h": 1,
    "candles_4h": 1,
    "candles_1d": 1,
    "candles_1w": 7,
    "candles_1mo": 31,
}

_IS_AVAILABLE = """
    SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
        OR (EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
            AND current_setting('shared_preload_libraries') ~ 'timescaledb')
"""
_IS_INSTALLED = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"
_IS_HYPERTABLE = """
    SELECT EXISTS (SELECT FROM timescaledb_information.hypertables
                   WHERE hypertable_schema = 'public' AND hypertable_name = '{table}')
"""
_JOB = """
    SELECT config::text FROM timescaledb_information.jobs
    WHERE hypertable_schema = 'public' AND hypertable_name = '{table}' AND proc_name = '{policy}'
"""


def is_available(connection: sqlalchemy.Connection) -> bool:
    """Tell whether this database has the extension, or could make it now."""
    return bool(connection.exec_driver_sql(_IS_AVAILABLE).scalar_one())


def is_installed(connection: sqlalchemy.Connection) -> bool:
    """Tell whether this database has the extension: what every migration asks."""
    return bool(connection.exec_driver_sql(_IS_INSTALLED).scalar_one())


def create_hypertable(
    connection: sqlalchemy.Connection,
    table: str,
    *,
    time_column: str,
    chunk: str,
    segment_by: str | None = None,
) -> None:
    """Make an empty table a hypertable where the extension is; leave it plain where it is not.

    Args:
        connection: Inside the migration's transaction.
        table: Its primary key must hold the time column.
        time_column: The ``timestamptz`` that chunks are cut by.
        chunk: Width of a chunk, a PostgreSQL interval.
        segment_by: Columns that compressed rows are grouped by; ``None`` for no compression.
    """
    if not is_installed(connection):
        return
    connection.exec_driver_sql(
        f"SELECT create_hypertable('{table}', '{time_column}',"
        f" chunk_time_interval => INTERVAL '{chunk}', create_default_indexes => false)"
    )
    if segment_by is not None:
        connection.exec_driver_sql(
            f"ALTER TABLE {table} SET (timescaledb.compress,"
            f" timescaledb.compress_segmentby = '{segment_by}',"
            f""" timescaledb.compress_orderby = '"{time_column}" DESC')"""
        )


def apply_policies(connection: sqlalchemy.Connection, policies: Policies) -> None:
    """Bring the jobs of the hypertables to these ages; jobs that have them already stay."""
    _set_metrics_retention(connection, policies.metrics_retention)
    if not is_installed(connection):
        return
    for table, width_days in CANDLE_TABLES.items():
        _set_policy(
            connection, table, "compression", policies.candles_compress_after + width_days - 1
        )
    _set_policy(connection, "orderbook_data", "compression", policies.books_compress_after)
    _set_policy(connection, "orderbook_data", "retention", policies.books_retention)
    _set_policy(connection, "service_metrics", "retention", policies.metrics_retention)


def _set_metrics_retention(connection: sqlalchemy.Connection, age_days: int) -> None:
    """Tell ``record_figures`` what to keep where no job drops chunks."""
    wanted = f"{age_days} days" if age_days else None
    if connection.exec_driver_sql("SELECT metrics_retention()::text").scalar_one() == wanted:
        return
    value = f"interval '{wanted}'" if wanted else "NULL::interval"
    connection.exec_driver_sql(
        "CREATE OR REPLACE FUNCTION metrics_retention() RETURNS interval LANGUAGE sql IMMUTABLE"
        f" AS $$ SELECT {value} $$"
    )


def _set_policy(connection: sqlalchemy.Connection, table: str, kind: str, age_days: int) -> None:
    """Add, change or (age 0) remove one job."""
    if not connection.exec_driver_sql(_IS_HYPERTABLE.format(table=table)).scalar_one():
        return  # made while the database was a plain PostgreSQL
    job = connection.exec_driver_sql(
        _JOB.format(table=table, policy=f"policy_{kind}")
    ).scalar_one_or_none()
    wanted = f"{age_days} days" if age_days else None
    if _age(job) == wanted:
        return
    if job is not None:
        connection.exec_driver_sql(f"SELECT remove_{kind}_policy('{table}')")
    if wanted is not None:
        connection.exec_driver_sql(f"SELECT add_{kind}_policy('{table}', INTERVAL '{wanted}')")


def _age(job: str | None) -> str | None:
    """Return the age in a job's configuration, as PostgreSQL prints intervals: ``7 days``."""
    if job is None:
        return None
    config: dict[str, Any] = json.loads(job)
    age = config.get("compress_after") or config.get("drop_after")
    return "1 days" if age == "1 day" else age
