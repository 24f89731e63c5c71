# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Brings one database to the newest schema, once, whoever else tries at the same time."""

from collections.abc import Mapping
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from linkora.settings import DatabaseSettings
from schema import timescale
from schema.roles import apply_roles
from schema.settings import Policies

FOLDER = Path(__file__).parent.parent
CONNECT_TIMEOUT_S = 5
# Any number that nobody else uses: "linkora" in ASCII, 56 bits.
ADVISORY_LOCK = int.from_bytes(b"linkora", "big")


def migrate(
    settings: DatabaseSettings,
    policies: Policies | None = None,
    role_passwords: Mapping[str, str] | None = None,
) -> list[str]:
    """Apply every migration that is missing; bring policies and users to their settings.

    Args:
        settings: The owner of the tables; one who may make roles, if there are passwords.
        policies: What is done with old data.
        role_passwords: Of the services' own users, by service; see ``schema.roles``.

    Returns:
        The revisions that this call applied; empty when the database was up to date.

    Raises:
        sqlalchemy.exc.OperationalError: If the database is away, or refuses the user.
    """
    engine = create_engine(settings)
    try:
        with engine.connect() as connection:
            # Others wait here, and then find nothing left to do.
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({ADVISORY_LOCK})")
            connection.commit()
            if timescale.is_available(connection):
                connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS timescaledb")
                connection.commit()
            before = _revision(connection)
            connection.commit()
            command.upgrade(alembic_config(connection), "head")
            timescale.apply_policies(connection, policies or Policies())
            connection.commit()
            apply_roles(connection, role_passwords or {})
            connection.commit()
            after = _revision(connection)
            connection.commit()
    finally:
        engine.dispose()  # ends the session, and with it the advisory lock
    return _applied(before, after)


def create_engine(settings: DatabaseSettings) -> sqlalchemy.Engine:
    """Return an engine without a pool."""
    url = sqlalchemy.URL.create(
        "postgresql+psycopg",
        username=settings.user,
        password=settings.password.get_secret_value() or None,
        host=settings.host,
        port=settings.port,
        database=settings.name,
    )
    return sqlalchemy.create_engine(
        url,
        poolclass=sqlalchemy.NullPool,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "migrations"},
    )


def alembic_config(connection: sqlalchemy.Connection) -> Config:
    """Return Alembic's configuration for this open connection."""
    config = Config(str(FOLDER / "alembic.ini"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: sqlalchemy.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _applied(before: str | None, after: str | None) -> list[str]:
    if after is None or before == after:
        return []
    scripts = ScriptDirectory(str(FOLDER))
    steps = scripts.iterate_revisions(after, before or "base")
    return [step.revision for step in steps][::-1]
