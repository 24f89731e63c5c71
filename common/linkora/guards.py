# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What stands before every route: trusted proxies, CORS, rate limits, the size of requests."""

from functools import partial
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from linkora.errors import RequestError
from linkora.http import Refusal, error_response, plain_refusal
from linkora.limits import RateLimiter, RateLimitMiddleware
from linkora.settings import HttpSettings

EXEMPT = frozenset({"/health", "/metrics"})
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024
_CONTINUE = b"HTTP/1.1 100 "
_VARY_ORIGIN = (b"vary", b"Origin")
EXPOSED_HEADERS = ["ETag", "Retry-After", "Warning"]


def guards(
    settings: HttpSettings,
    limiter: RateLimiter,
    exempt: frozenset[str] = EXEMPT,
    refusal: Refusal = plain_refusal,
) -> list[Middleware]:
    """Return the middleware of an application, outermost first.

    Args:
        settings: Which proxies are trusted and which origins' pages may read the answers.
        limiter: Counts requests; the caller keeps it (``limiter.keep()``).
        exempt: Paths that are never limited.
        refusal: Makes the answer of who asks too often.
    """
    proxies = [Middleware(ProxyHeadersMiddleware, trusted_hosts=settings.trusted_proxy_list)]
    return [
        *(proxies if settings.trusted_proxy_list else []),
        Middleware(
            Cors,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "HEAD"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
            max_age=86_400,
        ),
        Middleware(SmallBodies),
        Middleware(RateLimitMiddleware, limiter=limiter, exempt=exempt, refusal=refusal),
    ]


class Cors(CORSMiddleware):
    """Starlette's, with a short way for clients that are no pages and name no origin."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; its answer is marked as one that depends on the origin."""
        if scope["type"] != "http" or any(name == b"origin" for name, _ in scope["headers"]):
            await super().__call__(scope, receive, send)
            return

        async def send_varying(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _VARY_ORIGIN]
            await send(message)

        await self.app(scope, receive, send_varying)


class SmallBodies:
    """Refuses bodies beyond ``MAX_BODY_BYTES`` by their declared length (413)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it."""
        if scope["type"] == "http" and scope["method"] not in {"GET", "HEAD", "OPTIONS"}:
            declared = dict(scope["headers"]).get(b"content-length", b"0")
            if not declared.isdigit() or int(declared) > MAX_BODY_BYTES:
                error = RequestError(413, f"A body has at most {MAX_BODY_BYTES} bytes")
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol that does not collect a request's head without end."""

    _head_bytes = 0
    _is_in_head = True

    def data_received(self, data: bytes) -> None:
        """Close the connection when its request's head is longer than ``MAX_HEAD_BYTES``."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(
                    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
                    b"content-length: 0\r\nconnection: close\r\n\r\n"
                )
                self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting, and let the answer's head wait for its body."""
        self._is_in_head, self._head_bytes = False, 0
        super().on_headers_complete()
        cycle: Any = self.cycle
        if cycle is not None and cycle.scope is self.scope:  # not if it becomes a WebSocket
            cycle.transport = outlet = HeadWithBody(self.transport)
            cycle.on_response = partial(self._complete, outlet)

    def _complete(self, outlet: "HeadWithBody") -> None:
        outlet.flush()
        self.on_response_complete()


class HeadWithBody:
    """A transport that sends an answer's head together with the first part of its body.

    uvicorn writes them one after the other, which costs a system call more for each answer.
    """

    __slots__ = ("_head", "_is_begun", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._head = b""
        self._is_begun = False

    def write(self, data: bytes) -> None:
        """Keep the head, or send ``data`` after it."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif self._is_begun or data.startswith(_CONTINUE):
            self._transport.write(data)
        else:
            self._head, self._is_begun = data, True

    def flush(self) -> None:
        """Send a head that has no body."""
        if self._head:
            self.write(b"")

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed."""
        return bool(self._transport.is_closing())

    def close(self) -> None:
        """Send what waits and close."""
        self.flush()
        self._transport.close()
