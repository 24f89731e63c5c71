# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The web page at ``/``: the files of ``demo/web`` as they are, with the headers a page needs."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from linkora.http import json_response

PAGE_FOLDER = Path(__file__).parents[2] / "demo" / "web"
MIN_PACKED_BYTES = 1024
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}")


class Page(StaticFiles):
    """The files, each with the security headers; caches must ask whether they are still true.

    Args:
        folder: Where they are; nothing is served if it does not exist.
        orders_url: Where the order API is, if that is not another port of the page's own host.
    """

    def __init__(self, folder: Path, orders_url: str = "") -> None:
        super().__init__(directory=folder, check_dir=False)
        self._orders_url = orders_url

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file with the headers."""
        response = await super().get_response("index.html" if path == "." else path, scope)
        host = Request(scope).url.hostname or ""
        response.headers.update(security_headers(host, self._orders_url))
        response.headers["cache-control"] = "no-cache"
        return response


def security_headers(host: str, orders_url: str) -> dict[str, str]:
    """Return the headers of the page.

    Nothing runs, styles or frames it that is not from here; it may speak to any port of its own
    host and to the order API.

    Args:
        host: The host name that the client used; left out of the policy if it isn't a plain one.
        orders_url: An http(s) URL or nothing.
    """
    places = ["'self'"]
    if _HOST.fullmatch(host):
        places += [f"{scheme}://{host}:*" for scheme in ("http", "https", "ws", "wss")]
    if orders_url:
        origin = urlsplit(orders_url)
        secure = "s" if origin.scheme == "https" else ""
        places += [f"{origin.scheme}://{origin.netloc}", f"ws{secure}://{origin.netloc}"]
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": " ".join(places),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "cross-origin-opener-policy": "same-origin",
    }


def page_routes(
    orders_url: str = "", orders_port: int = 8080, folder: Path = PAGE_FOLDER
) -> list[BaseRoute]:
    """Return the routes of the page.

    Args:
        orders_url: Where browsers find the order API; empty: on ``orders_port`` of the page's host.
        orders_port: As above.
        folder: The page's files.
    """
    page: Any = GZipMiddleware(Page(folder, orders_url), minimum_size=MIN_PACKED_BYTES)

    async def tell_config(_: Request) -> Response:
        config = {"orders_url": orders_url or None, "orders_port": orders_port}
        return json_response(config, headers={"cache-control": "no-cache"})

    return [
        Route("/web/config.json", tell_config),
        Mount("/web", page),
        Route("/", page, methods=["GET", "HEAD"]),
    ]
