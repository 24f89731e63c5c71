# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A name for each request and each socket, in its answer and in every log line made for it."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger(__name__)

HEADER = "x-request-id"
# What a proxy or client may give; anything else could forge log lines.
_GIVEN = re.compile(r"[A-Za-z0-9._\-]{1,64}")
SLOW_S = 2.0
CLIENT_GONE = 499  # nginx' word for it
_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_UNKNOWN = "unknown"


class RequestMetrics:
    """Counts answers and measures how long they took, by endpoint (not by path: paths vary)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answers = Counter(
            "http_requests", "Answers sent", ["endpoint", "status"], registry=registry
        )
        self._seconds = Histogram(
            "http_request_seconds", "Time to the end of the answer", ["endpoint"],
            buckets=_BUCKETS, registry=registry,
        )  # fmt: skip

    def note(self, endpoint: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._answers.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)


class RequestIds:
    """Gives each request an id: the proxy's ``X-Request-ID`` if it has a sane one, else our own.

    The answer carries it, and so does every log line that is written while it is made.
    """

    def __init__(
        self,
        app: ASGIApp,
        registry: CollectorRegistry | None = None,
        now_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._metrics = RequestMetrics(registry) if registry is not None else None
        self._now_s = now_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its id."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _GIVEN.fullmatch(given) else secrets.token_hex(8)
        # Each request is a task with a context of its own: nothing to take back afterwards.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status, began_s = 500, self._now_s()

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] in {"http.response.start", "websocket.accept"}:
                status = message.get("status", 101)
                message.setdefault("headers", [])
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except asyncio.CancelledError:
            status = CLIENT_GONE
            raise
        finally:
            if scope["type"] == "http":
                self._note(scope, status, self._now_s() - began_s)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        endpoint = getattr(scope.get("endpoint"), "__name__", _UNKNOWN)
        if self._metrics is not None:
            self._metrics.note(endpoint, status, seconds)
        tell = log.warning if seconds >= SLOW_S else log.debug
        tell(
            "request_slow" if seconds >= SLOW_S else "request_answered",
            method=scope["method"],
            path=scope["path"],
            status=status,
            duration_ms=round(seconds * 1000, 1),
        )
