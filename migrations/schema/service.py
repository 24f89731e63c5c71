# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Composition root of the migration job."""

import time

import sqlalchemy
import structlog

from linkora.backoff import Backoff
from linkora.logs import configure_logs
from schema.runner import migrate
from schema.settings import Settings

REFUSALS = ("authentication failed", "no password supplied", "no pg_hba.conf entry")
NO_SUCH = "does not exist"

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Apply every migration, however long the database takes to come.

    Raises:
        SystemExit: With code 1 if the database refuses the user or the password.
    """
    configure_logs("migrations", settings.log_level)
    where = f"{settings.database.host}:{settings.database.port}/{settings.database.name}"
    backoff = Backoff()
    while True:
        try:
            applied = migrate(settings.database, settings.policies(), settings.role_passwords())
        except sqlalchemy.exc.OperationalError as error:
            if _is_refusal(error):
                log.error("database_refused_us", database=where, error=_reason(error))
                raise SystemExit(1) from None
            delay_s = backoff.next_delay_s()
            log.warning(
                "database_awaited", database=where, error=_reason(error), wait_s=round(delay_s, 1)
            )
            time.sleep(delay_s)
        else:
            log.info("database_migrated", database=where, applied=applied)
            return


def _is_refusal(error: sqlalchemy.exc.OperationalError) -> bool:
    """Tell a wrong user or password from a server that is away or still starting.

    libpq keeps the error's code of a failed connection to itself, so that the text must do.
    """
    text = str(error.orig)
    return any(mark in text for mark in REFUSALS) or ('role "' in text and NO_SUCH in text)


def _reason(error: sqlalchemy.exc.OperationalError) -> str:
    return " ".join(str(error.orig).split())
