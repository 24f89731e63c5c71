# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""``/metrics/history``: what the services said of themselves, minute by minute."""

import time
from collections.abc import Callable
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from linkora.errors import RequestError
from linkora.figure_store import FigurePoint
from linkora.http import json_response
from marketdata import params
from marketdata.params import Query

MINUTE_S = 60
DAY_MS = 86_400_000
DEFAULT_POINTS = 300
MAX_POINTS = 10_000
MAX_METRICS = 20
MAX_SPAN_MS = 366 * DAY_MS
MAX_NAME = 200


class Figures(Protocol):
    """What is read. Every method raises ``TransientError`` while the database is away."""

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

    async def catalogue(self) -> dict[str, list[str]]:
        """Return the names of the figures that were written lately, by service."""


class Wanted(msgspec.Struct, frozen=True):
    """What a request asks for; times in Unix ms, ``end_ms`` excluded."""

    service: str
    metrics: list[str]
    instance: str | None
    start_ms: int
    end_ms: int
    step_s: int


def wanted_figures(query: Query, now_ms: int) -> Wanted:
    """Return what a request asks for: by default the last day in at most 300 steps.

    Raises:
        RequestError: 400, if something is missing, of a wrong form or beyond its bounds.
    """
    service, names = query.get("service", "").strip(), query.get("metric", "")
    metrics = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not service or not metrics:
        raise RequestError(400, "service and metric are required, or neither for their names")
    texts = [service, query.get("instance", ""), *metrics]
    if len(metrics) > MAX_METRICS or any(len(t) > MAX_NAME or "\x00" in t for t in texts):
        raise RequestError(
            400, f"at most {MAX_METRICS} metrics, and {MAX_NAME} characters in each name"
        )
    end_ms = params.time_ms(query, "end_date") or now_ms
    start_ms = params.time_ms(query, "start_date")
    if start_ms is None:
        start_ms = max(0, end_ms - DAY_MS)
    if not 0 < end_ms - start_ms <= MAX_SPAN_MS:
        raise RequestError(400, "start_date must be before end_date, by at most 366 days")
    return Wanted(
        service=service,
        metrics=metrics,
        instance=query.get("instance", "").strip() or None,
        start_ms=start_ms,
        end_ms=end_ms,
        step_s=_step_s(query, (end_ms - start_ms) // 1000),
    )


def _step_s(query: Query, span_s: int) -> int:
    """Return whole minutes: what is asked for, else what gives ``DEFAULT_POINTS``."""
    text = query.get("step", "").strip()
    if not text:
        return max(1, -(-span_s // (DEFAULT_POINTS * MINUTE_S))) * MINUTE_S
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if seconds < MINUTE_S or seconds % MINUTE_S:
        raise RequestError(400, "step must be whole minutes in seconds: 60, 120, ...")
    return seconds


def history_routes(
    figures: Figures, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
) -> list[Route]:
    """Return the route ``/metrics/history``."""

    async def history(request: Request) -> Response:
        query = request.query_params
        if not query.get("service") and not query.get("metric"):
            return json_response({"services": await figures.catalogue()})
        wanted = wanted_figures(query, now_ms())
        points = await figures.history(
            wanted.service,
            wanted.metrics,
            start_ms=wanted.start_ms,
            end_ms=wanted.end_ms,
            step_s=wanted.step_s,
            instance=wanted.instance,
            limit=MAX_POINTS,
        )
        return json_response(
            {
                "service": wanted.service,
                "step": wanted.step_s,
                "is_complete": len(points) < MAX_POINTS,
                "points": points,
            }
        )

    return [Route("/metrics/history", history)]
