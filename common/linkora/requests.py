# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A name for each request and each socket, in its answer and in every log line made for it."""

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger(__name__)

HEADER = "x-request-id"
_RAW_HEADER = HEADER.encode()
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

        # Looking up labels costs more than counting does.
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def note(self, endpoint: str, status: int, seconds: float) -> None:
        """Count one answer."""
        children = self._children.get((endpoint, status))
        if children is None:
            children = (
                self._answers.labels(endpoint, str(status)), self._seconds.labels(endpoint)
            )  # fmt: skip
            self._children[endpoint, status] = children
        children[0].inc()
        children[1].observe(seconds)


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
        # Asking the logger costs more than all else here; the level is set before we are made.
        self._tells_all = log.is_enabled_for(logging.DEBUG)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its id."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = _given_id(scope) or f"{random.getrandbits(64):016x}"
        # Each request is a task with a context of its own: nothing to take back afterwards.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status, began_s = 500, self._now_s()

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] in {"http.response.start", "websocket.accept"}:
                status = message.get("status", 101)
                told = (_RAW_HEADER, request_id.encode())
                message["headers"] = [*message.get("headers", []), told]
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
        is_slow = seconds >= SLOW_S
        if not is_slow and not self._tells_all:
            return
        tell = log.warning if is_slow else log.debug
        tell(
            "request_slow" if is_slow else "request_answered",
            method=scope["method"],
            path=scope["path"],
            status=status,
            duration_ms=round(seconds * 1000, 1),
        )


def _given_id(scope: Scope) -> str | None:
    """Return the id that came with the request, if it is a sane one."""
    for name, value in scope["headers"]:
        if name == _RAW_HEADER:
            given = str(value, "latin-1")
            return given if _GIVEN.fullmatch(given) else None
    return None
