# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The services' figures in the database: written once a minute, read as history."""

from collections.abc import Mapping
from datetime import UTC, datetime

import asyncpg
import msgspec

from linkora.database import transient_errors

_RECORD = "SELECT record_figures($1, $2, $3::json)"
# Silent: wrote within the last day, but not within the last minutes.
_SILENT = """
    SELECT service, (extract(epoch FROM max("time")) * 1000)::bigint
    FROM service_metrics
    WHERE "time" > now() - interval '1 day' AND metric = 'healthy'
    GROUP BY service
    HAVING max("time") < now() - $1 * interval '1 second'
"""
_HISTORY = """
    SELECT service, instance, metric,
           (extract(epoch FROM date_bin($6 * interval '1 second', "time", timestamptz 'epoch'))
            * 1000)::bigint AS bucket_ms,
           avg(value), min(value), max(value)
    FROM service_metrics
    WHERE "time" >= $4 AND "time" < $5
      AND service = $1 AND metric = ANY($2::text[])
      AND ($3::text IS NULL OR instance = $3)
    GROUP BY service, instance, metric, bucket_ms
    ORDER BY metric, instance, bucket_ms
    LIMIT $7
"""
_CATALOGUE = """
    SELECT DISTINCT service, metric FROM service_metrics
    WHERE "time" > now() - interval '5 minutes' ORDER BY 1, 2
"""

_DATABASE_SIZE = "SELECT pg_database_size(current_database())"


class FigurePoint(msgspec.Struct, frozen=True):
    """One bucket of one figure: its mean, smallest and largest value."""

    service: str
    instance: str
    metric: str
    timestamp: int
    value: float
    min: float
    max: float


class FigureStore:
    """Writes and reads figures. Every method raises ``TransientError`` while that is impossible.

    Args:
        pool: Of a user that may call ``record_figures``, and read ``service_metrics``.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def record(self, service: str, instance: str, figures: Mapping[str, float]) -> None:
        """Store the figures of this minute, over those that are there for it."""
        with transient_errors():
            await self._pool.execute(
                _RECORD, service, instance, msgspec.json.encode(figures).decode()
            )

    async def database_size_bytes(self) -> int:
        """Return how much disk our database takes, without its write-ahead log."""
        with transient_errors():
            return int(await self._pool.fetchval(_DATABASE_SIZE))

    async def silent_services(self, after_s: float) -> dict[str, int]:
        """Return the services of the last day that say nothing now: last word in Unix ms."""
        with transient_errors():
            return {r[0]: r[1] for r in await self._pool.fetch(_SILENT, after_s)}

    async def history(
        self,
        service: str,
        metrics: list[str],
        *,
        start_ms: int,
        end_ms: int,
        step_s: int,
        instance: str | None = None,
        limit: int,
    ) -> list[FigurePoint]:
        """Return buckets of ``step_s`` seconds of the service's figures, by figure and time."""
        with transient_errors():
            records = await self._pool.fetch(
                _HISTORY,
                service,
                metrics,
                instance,
                datetime.fromtimestamp(start_ms / 1000, UTC),
                datetime.fromtimestamp(end_ms / 1000, UTC),
                step_s,
                limit,
            )
        return [FigurePoint(*record) for record in records]

    async def catalogue(self) -> dict[str, list[str]]:
        """Return the names of the figures that were written lately, by service."""
        with transient_errors():
            records = await self._pool.fetch(_CATALOGUE)
        found: dict[str, list[str]] = {}
        for service, metric in records:
            found.setdefault(service, []).append(metric)
        return found
