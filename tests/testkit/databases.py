# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A fresh, migrated database for each test, cloned from a template in milliseconds."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from linkora.settings import DatabaseSettings
from testkit.postgres import connect

_CLONE_TRIES = 20
_HAS_TIMESCALEDB = """
    SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
           AND current_setting('shared_preload_libraries') ~ 'timescaledb'
"""
_TABLES = """
    SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""


def remember_rows(connection: psycopg.Connection) -> None:
    """Keep the rows that the migrations themselves wrote, for ``empty_again``."""
    connection.execute("CREATE SCHEMA remembered")
    for (table,) in connection.execute(_TABLES).fetchall():
        names = sql.Identifier("remembered", table), sql.Identifier("public", table)
        rows = connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(names[1]))
        if rows.fetchone() is not None:
            connection.execute(sql.SQL("CREATE TABLE {} AS TABLE {}").format(*names))


def empty_again(connection: psycopg.Connection) -> None:
    """Leave in every table what the migrations wrote and nothing else."""
    names = [table for (table,) in connection.execute(_TABLES).fetchall()]
    tables = sql.SQL(", ").join(sql.Identifier("public", name) for name in names)
    connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(tables))
    kept = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'remembered'")
    for (table,) in kept.fetchall():
        connection.execute(
            sql.SQL("INSERT INTO {} TABLE {}").format(
                sql.Identifier("public", table), sql.Identifier("remembered", table)
            )
        )


class Databases:
    """Makes and drops databases on one server.

    Args:
        admin: How to reach a database of that server as a user who may create databases.
    """

    def __init__(self, admin: DatabaseSettings) -> None:
        self._admin = admin
        self._template: str | None = None
        with connect(admin) as connection:
            self.version = connection.info.parameter_status("server_version") or "?"
            row = connection.execute(_HAS_TIMESCALEDB).fetchone()
        self.has_timescaledb = row == (True,)

    @contextmanager
    def empty(self) -> Iterator[DatabaseSettings]:
        """Yield a new database without tables; dropped afterwards."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {}", name)
        try:
            yield self._settings(name)
        finally:
            self._drop(name)

    @contextmanager
    def migrated(self) -> Iterator[DatabaseSettings]:
        """Yield a new database with every migration applied; dropped afterwards."""
        template = self._migrated_template()
        name = f"test_{secrets.token_hex(6)}"
        self._clone(template, name)
        try:
            yield self._settings(name)
        finally:
            self._drop(name)

    def close(self) -> None:
        """Drop the template."""
        if self._template is not None:
            self._execute("ALTER DATABASE {} IS_TEMPLATE false", self._template)
            self._drop(self._template)
            self._template = None

    def _migrated_template(self) -> str:
        if self._template is None:
            from schema.runner import migrate

            name = f"template_{secrets.token_hex(6)}"
            self._execute("CREATE DATABASE {}", name)
            migrate(self._settings(name))
            self._execute("ALTER DATABASE {} IS_TEMPLATE true ALLOW_CONNECTIONS false", name)
            self._template = name
        return self._template

    def _clone(self, template: str, name: str) -> None:
        # TimescaleDB's background workers may still be connected to the template.
        for tries_left in reversed(range(_CLONE_TRIES)):
            with connect(self._admin) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    (template,),
                )
            try:
                self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
            except psycopg.errors.ObjectInUse:
                if tries_left == 0:
                    raise
            else:
                return

    def _drop(self, name: str) -> None:
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _execute(self, statement: str, *names: str) -> None:
        with connect(self._admin) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _settings(self, name: str) -> DatabaseSettings:
        return self._admin.model_copy(update={"name": name})
