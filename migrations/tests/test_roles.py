# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import json
import secrets
from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from linkora.settings import DatabaseSettings
from schema.roles import ROLES
from schema.runner import migrate
from testkit.databases import Databases
from testkit.postgres import connect, private_postgres

FIGURES = json.dumps({"candles_stored": 12.5, "healthy": 1})

# What an operator's RESET of the scan empties: see order_system/orders/order_store.py.
RESET_TABLES = """
    TRUNCATE order_events, position_events, processed_events, orders, positions, blocks,
             order_counts_by_time, order_counts_by_user
"""


@pytest.fixture
def passwords() -> dict[str, str]:
    # With the characters that break careless quoting.
    return {service: f"{secrets.token_hex(6)}'\" \\$" for service in ROLES}


@pytest.fixture(scope="module")
def own_databases() -> Iterator[Databases]:
    """On a server of our own: users belong to a whole server, not to a database."""
    with private_postgres() as server:
        yield Databases(server.settings())


@pytest.fixture
def guarded(own_databases: Databases, passwords: dict[str, str]) -> Iterator[DatabaseSettings]:
    """A migrated database with the services' own users."""
    with own_databases.migrated() as settings:
        migrate(settings, role_passwords=passwords)
        yield settings


def as_user(settings: DatabaseSettings, service: str, password: str) -> psycopg.Connection:
    login = {"user": ROLES[service].name, "password": SecretStr(password)}
    return connect(settings.model_copy(update=login))


def tables(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {name for (name,) in rows}


def writable_views(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_trigger ON tgrelid = c.oid WHERE relkind = 'v'"
    )
    return {name for (name,) in rows}


def test_the_api_reads_candles_and_cannot_write_any_table(
    guarded: DatabaseSettings, passwords: dict[str, str]
) -> None:
    with as_user(guarded, "api", passwords["api"]) as connection:
        assert connection.execute("SELECT count(*) FROM candles").fetchone() == (0,)
        for table in tables(connection):
            for statement in (
                f'DELETE FROM "{table}"',
                f'INSERT INTO "{table}" DEFAULT VALUES',
                f'TRUNCATE "{table}"',
                f'DROP TABLE "{table}"',
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)  # type: ignore[arg-type]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE mine (id int)")


def test_the_collector_writes_candles_and_cannot_touch_orders(
    guarded: DatabaseSettings, passwords: dict[str, str]
) -> None:
    with as_user(guarded, "collector", passwords["collector"]) as connection:
        connection.execute(
            "INSERT INTO candles VALUES ('BTCUSDT', '2024-01-01Z', '2024-01-01 00:00:59.999Z',"
            " 1, 1, 1, 1, 1, 1, 1, 1, 1, true)"
        )
        connection.execute(
            "SELECT roll_up('{BTCUSDT}', '2024-01-01Z'::timestamptz, '2024-01-01 00:01Z')"
        )
        assert connection.execute("SELECT minutes FROM candles_1mo").fetchone() == (1,)
        for statement in ("SELECT FROM orders", "DELETE FROM system_state"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)  # type: ignore[arg-type]


def test_the_order_api_reads_orders_and_only_the_event_processor_writes_them(
    guarded: DatabaseSettings, passwords: dict[str, str]
) -> None:
    statement = "UPDATE order_counts SET total = 7 WHERE status = 'PENDING'"
    with as_user(guarded, "order_api", passwords["order_api"]) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
    with as_user(guarded, "order_events", passwords["order_events"]) as connection:
        assert connection.execute(statement).rowcount == 1
        connection.execute(RESET_TABLES)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT FROM candles")


def test_nobody_else_may_empty_the_orders(
    guarded: DatabaseSettings, passwords: dict[str, str]
) -> None:
    for service in set(ROLES) - {"order_events"}:
        with (
            as_user(guarded, service, passwords[service]) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(RESET_TABLES)


def test_every_table_but_the_jobs_own_has_one_writer(guarded: DatabaseSettings) -> None:
    writers = [table for role in ROLES.values() for table in role.writes]
    with connect(guarded) as connection:
        written = tables(connection) - {"alembic_version", "service_metrics"}
        written |= writable_views(connection)
    assert sorted(writers) == sorted(written)


@pytest.mark.parametrize("service", ROLES)
def test_every_service_may_add_figures_and_not_change_them(
    guarded: DatabaseSettings, passwords: dict[str, str], service: str
) -> None:
    with as_user(guarded, service, passwords[service]) as connection:
        connection.execute("SELECT record_figures(%s, 'host:1', %s)", (service, FIGURES))
        connection.execute("SELECT record_figures(%s, 'host:1', %s)", (service, FIGURES))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM service_metrics")
    with connect(guarded) as connection:
        rows = connection.execute(
            "SELECT metric, max(value) FROM service_metrics WHERE service = %s"
            " GROUP BY 1 ORDER BY 1",
            (service,),
        ).fetchall()
    assert rows == [("candles_stored", 12.5), ("healthy", 1.0)]


def test_a_statement_of_the_api_ends_after_its_time(
    guarded: DatabaseSettings, passwords: dict[str, str]
) -> None:
    with as_user(guarded, "api", passwords["api"]) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("30s",)
        assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == (
            "1min",
        )


def test_a_second_run_changes_passwords_and_takes_back_what_was_given_by_hand(
    guarded: DatabaseSettings, passwords: dict[str, str]
) -> None:
    with connect(guarded) as connection:
        connection.execute("GRANT DELETE, TRUNCATE ON candles TO linkora_api")
    migrate(guarded, role_passwords={**passwords, "api": "new"})
    with as_user(guarded, "api", "new") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM candles")
        assert connection.execute("SELECT count(*) FROM candles").fetchone() == (0,)


def test_the_password_is_kept_as_a_scram_verifier_of_the_given_word(
    guarded: DatabaseSettings,
) -> None:
    with connect(guarded) as connection:
        words = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'linkora\\_%'"
        ).fetchall()
    assert len(words) == len(ROLES)
    assert all(word.startswith("SCRAM-SHA-256$") for (word,) in words)


def test_figures_older_than_thirty_days_are_deleted(either_database: DatabaseSettings) -> None:
    with connect(either_database) as connection:
        connection.execute(
            "INSERT INTO service_metrics VALUES"
            " (now() - interval '40 days', 'api-server', 'a', 'healthy', 1),"
            " (now() - interval '29 days', 'api-server', 'a', 'healthy', 1)"
        )
        connection.execute("SELECT record_figures('api-server', 'a', '{\"healthy\": 1}')")
        _run_retention_job(connection)
        left = connection.execute("SELECT count(*) FROM service_metrics").fetchone()
    assert left == (2,)


def _run_retention_job(connection: psycopg.Connection) -> None:
    """Run now what TimescaleDB runs daily; plain PostgreSQL deletes with every new figure."""
    extension = connection.execute("SELECT FROM pg_extension WHERE extname = 'timescaledb'")
    if extension.fetchone() is not None:
        job = connection.execute(
            "SELECT job_id FROM timescaledb_information.jobs"
            " WHERE proc_name = 'policy_retention' AND hypertable_name = 'service_metrics'"
        ).fetchone()
        assert job is not None
        connection.execute("CALL run_job(%s)", job)


def test_figures_are_stored_on_timescaledb_too(timescale_database: DatabaseSettings) -> None:
    with connect(timescale_database) as connection:
        connection.execute("SELECT record_figures('timescale', 'a', %s)", (FIGURES,))
        rows = connection.execute(
            "SELECT count(*) FROM service_metrics WHERE service = 'timescale'"
        ).fetchone()
    assert rows == (2,)
