# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What stands before every route: trusted proxies, CORS, rate limits, the size of requests."""

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from linkora.errors import RequestError
from linkora.http import error_response
from linkora.limits import RateLimiter, RateLimitMiddleware
from linkora.settings import HttpSettings

EXEMPT = frozenset({"/health", "/metrics"})
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024
EXPOSED_HEADERS = ["ETag", "Retry-After", "Warning"]


def guards(
    settings: HttpSettings, limiter: RateLimiter, exempt: frozenset[str] = EXEMPT
) -> list[Middleware]:
    """Return the middleware of an application, outermost first.

    Args:
        settings: Which proxies are trusted and which origins' pages may read the answers.
        limiter: Counts requests; the caller keeps it (``limiter.keep()``).
        exempt: Paths that are never limited.
    """
    proxies = [Middleware(ProxyHeadersMiddleware, trusted_hosts=settings.trusted_proxy_list)]
    return [
        *(proxies if settings.trusted_proxy_list else []),
        Middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "HEAD"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
            max_age=86_400,
        ),
        Middleware(SmallBodies),
        Middleware(RateLimitMiddleware, limiter=limiter, exempt=exempt),
    ]


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
        """Stop counting."""
        self._is_in_head, self._head_bytes = False, 0
        super().on_headers_complete()
