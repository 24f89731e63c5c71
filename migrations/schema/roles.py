# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""One database user for each service, with the least that it needs.

Made and brought up to date at every run of the job, after the migrations, for each service whose
password is set. Without passwords nothing is made: then all services are the owner, as in
development.
"""

from collections.abc import Iterable, Mapping

import msgspec
import psycopg
import sqlalchemy
import structlog
from psycopg import sql

from schema.timescale import CANDLE_TABLES

log = structlog.get_logger(__name__)

READ = frozenset({"SELECT"})
WRITE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
EMPTY = frozenset({"TRUNCATE"})

_CANDLES = tuple(CANDLE_TABLES)
_COLLECTED = ("orderbook_data", "collector_state", "candle_gaps", "request_bans")
_ORDERS = (
    "orders", "order_events", "order_counts", "order_counts_by_time", "order_counts_by_user",
    "order_counts_by_minute", "processed_events", "system_state", "blocks", "dead_letters",
    "tokens", "positions", "position_events",
)  # fmt: skip

_EMPTIED = (
    "orders", "order_events", "order_counts_by_time", "order_counts_by_user",
    "processed_events", "blocks", "positions", "position_events",
)  # fmt: skip

# Each sees by their figures which of the others have died.
_FIGURES_READ = ("service_metrics",)


class Role(msgspec.Struct, frozen=True):
    """A service's user.

    Attributes:
        name: Of the user.
        writes: Tables that it may read and change; no other role has them.
        reads: Tables that it may read.
        empties: Tables that it may empty at once, as a RESET of the scan does.
        statement_timeout: After which PostgreSQL ends a statement of it.
    """

    name: str
    writes: tuple[str, ...]
    reads: tuple[str, ...]
    statement_timeout: str
    empties: tuple[str, ...] = ()


ROLES = {
    "collector": Role("linkora_collector", (*_CANDLES, *_COLLECTED), _FIGURES_READ, "300s"),
    "api": Role("linkora_api", (), (*_CANDLES, *_COLLECTED, "system_state", *_FIGURES_READ), "30s"),
    "order_events": Role("linkora_order_events", _ORDERS, _FIGURES_READ, "300s", _EMPTIED),
    "order_api": Role("linkora_order_api", (), (*_ORDERS, *_FIGURES_READ), "30s"),
}
IDLE_IN_TRANSACTION = "60s"
# Callable by every service: it adds figures to service_metrics and can do nothing else.
_FIGURES = sql.SQL("GRANT EXECUTE ON FUNCTION record_figures(text, text, json) TO {}")
_FIGURES_CLOSED = "REVOKE ALL ON FUNCTION record_figures(text, text, json) FROM PUBLIC"
_SCHEMA = sql.SQL("GRANT USAGE ON SCHEMA public TO {}")
_WORDS = {
    "SELECT": sql.SQL("SELECT"),
    "INSERT": sql.SQL("INSERT"),
    "UPDATE": sql.SQL("UPDATE"),
    "DELETE": sql.SQL("DELETE"),
    "TRUNCATE": sql.SQL("TRUNCATE"),
    "REFERENCES": sql.SQL("REFERENCES"),
    "TRIGGER": sql.SQL("TRIGGER"),
}
_GRANT = sql.SQL("GRANT {} ON {} TO {}")
_REVOKE = sql.SQL("REVOKE {} ON {} FROM {}")


def apply_roles(connection: sqlalchemy.Connection, passwords: Mapping[str, str]) -> None:
    """Make the users, set their passwords and bring their rights to what ``ROLES`` says.

    Args:
        connection: Of a user that may make roles and owns the tables; in a transaction.
        passwords: By key of ``ROLES``; services that are absent are left as they are.

    Raises:
        sqlalchemy.exc.ProgrammingError: If the user may not make roles.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101 - the engine's own driver
    if passwords:
        driver.execute(_FIGURES_CLOSED)  # a restored backup has no rights in it
    for service, password in passwords.items():
        role = ROLES[service]
        _make(driver, role, password)
        _grant(driver, role)


def _make(driver: psycopg.Connection, role: Role, password: str) -> None:
    is_known = driver.execute("SELECT FROM pg_roles WHERE rolname = %s", (role.name,)).rowcount
    name = sql.Identifier(role.name)
    if not is_known:
        driver.execute(sql.SQL("CREATE ROLE {}").format(name))
        log.info("database_role_made", role=role.name)
    # Hashed here, so that no log of the server can ever show it.
    hashed = driver.pgconn.encrypt_password(
        password.encode(), role.name.encode(), b"scram-sha-256"
    ).decode()
    driver.execute(
        sql.SQL(
            "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
            " PASSWORD {}"
        ).format(name, sql.Literal(hashed))
    )
    settings = {
        "statement_timeout": role.statement_timeout,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
    }
    for setting, value in settings.items():
        driver.execute(
            sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}").format(
                name,
                sql.Identifier(driver.info.dbname),
                sql.Identifier(setting),
                sql.Literal(value),
            )
        )


def _grant(driver: psycopg.Connection, role: Role) -> None:
    """Give and take what differs: rights on a hypertable are copied to each of its chunks."""
    wanted = _rights(role.writes, WRITE) | _rights(role.reads, READ)
    wanted |= _rights(role.empties, EMPTY)
    present = {
        (str(table), str(right))
        for table, right in driver.execute(
            "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
            " WHERE grantee = %s AND table_schema = 'public'",
            (role.name,),
        )
    }
    name = sql.Identifier(role.name)
    for form, rights in ((_GRANT, wanted - present), (_REVOKE, present - wanted)):
        for table, right in sorted(rights):
            driver.execute(form.format(_WORDS[right], sql.Identifier("public", table), name))
    driver.execute(_SCHEMA.format(name))
    driver.execute(_FIGURES.format(name))


def _rights(tables: Iterable[str], rights: frozenset[str]) -> set[tuple[str, str]]:
    return {(table, right) for table in tables for right in rights}
