# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The order API as an ASGI application."""

from datetime import UTC, datetime
from typing import Protocol

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from linkora import metrics
from linkora.errors import TransientError
from linkora.http import EXCEPTION_HANDLERS, json_response
from orders.condition import Bounds, ScannerState, judge
from orders.rest import Reads, Routes


class Sources(Reads, Protocol):
    """What the API needs of the database."""

    async def scanner_state(self) -> ScannerState | None:
        """Return what the event processor last said of itself."""


def create_app(sources: Sources, bounds: Bounds, registry: CollectorRegistry) -> Starlette:
    """Return the application.

    Args:
        sources: Reads of the database.
        bounds: Limits of what counts as healthy.
        registry: The metrics to tell.
    """

    async def tell_health(_: Request) -> Response:
        components: dict[str, object] = {
            "order_api": "HEALTHY",
            "timestamp": datetime.now(UTC).isoformat(),
        }
        try:
            state = await sources.scanner_state()
        except TransientError as error:
            components |= {
                "database": "UNHEALTHY",
                "database_connection": "FAILED",
                "database_error": str(error)[:200],
            }
            return _health(components, is_healthy=False)
        components |= {"database": "HEALTHY", "database_connection": "WORKING"}
        condition = judge(state, bounds)
        components |= condition.facts
        return _health(components, is_healthy=condition.is_healthy)

    async def tell_metrics(_: Request) -> Response:
        return Response(metrics.render(registry), media_type=metrics.CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/health", tell_health),
            Route("/metrics", tell_metrics),
            *Routes(sources).routes(),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )


def _health(components: dict[str, object], *, is_healthy: bool) -> Response:
    body = {
        "overall_status": "healthy" if is_healthy else "unhealthy",
        "components": components,
        "status": "success",
    }
    return json_response(body, 200 if is_healthy else 503)
