# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What every HTTP side of ours has in common: JSON, errors, ``/health`` and ``/metrics``."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from linkora import metrics
from linkora.errors import RequestError, TransientError
from linkora.health import Health

log = structlog.get_logger(__name__)

UNAVAILABLE_RETRY_AFTER_S = 5
_encoder = msgspec.json.Encoder()


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return ``body`` (built-ins or msgspec structs) as a JSON answer."""
    return Response(_encoder.encode(body), status, headers, media_type="application/json")


def json_bytes_response(body: bytes, headers: dict[str, str] | None = None) -> Response:
    """Return bytes that are JSON already."""
    return Response(body, 200, headers, media_type="application/json")


def error_response(error: RequestError, body: dict[str, Any] | None = None) -> Response:
    """Return the answer of a refused request, with ``Retry-After`` if the error has it.

    Args:
        error: Why it is refused.
        body: What is told; by default ``{"error": text}``, with a ``hint`` if any.
    """
    headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s else None
    if body is None:
        body = {"error": error.message} | ({"hint": error.hint} if error.hint else {})
    return json_response(body, error.status, headers)


Refusal = Callable[[str, RequestError], Response]
"""Returns the answer of a refused request, given its path: some speak another dialect."""


def plain_refusal(_: str, error: RequestError) -> Response:
    """Return the same answer for all paths."""
    return error_response(error)


def unavailable(error: TransientError) -> RequestError:
    """Return the 503 of a request that failed as a neighbour is away, and log it."""
    log.warning("request_not_served", reason=str(error))
    return RequestError(503, "Temporarily unavailable, try again", UNAVAILABLE_RETRY_AFTER_S)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)  # noqa: S101 - Starlette's signature is wider
    return error_response(error)


async def _unavailable(_: Request, error: Exception) -> Response:
    assert isinstance(error, TransientError)  # noqa: S101 - Starlette's signature is wider
    return error_response(unavailable(error))


async def _http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette's signature is wider
    return json_response({"error": error.detail}, error.status_code, dict(error.headers or {}))


async def _failed(request: Request, error: Exception) -> Response:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return json_response({"error": "Internal server error"}, 500)


EXCEPTION_HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    RequestError: _refused,
    TransientError: _unavailable,
    HTTPException: _http_exception,
    Exception: _failed,
}


def health_response(health: Health) -> Response:
    """Return ``/health``: 200 while every component works, else 503 with the reasons."""
    return json_response(health.report(), 200 if health.is_healthy else 503)


def observability_routes(health: Health, registry: CollectorRegistry) -> list[Route]:
    """Return the routes ``/health`` and ``/metrics``."""

    async def tell_health(_: Request) -> Response:
        return health_response(health)

    async def tell_metrics(_: Request) -> Response:
        return Response(metrics.render(registry), media_type=metrics.CONTENT_TYPE)

    return [Route("/health", tell_health), Route("/metrics", tell_metrics)]
