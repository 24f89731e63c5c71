# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""An encoded answer as one client wants it: whole, compressed, or not at all."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from marketdata.answers import OPEN_CACHE, VARY, Answer

MIN_PACKED_BYTES = 1024
PACK_IN_THREAD_BYTES = 32 * 1024


def staleness(is_stale: bool) -> dict[str, str]:
    """Return the header of an answer that may be old (RFC 7234, 5.5.1), none for another."""
    return {"warning": '110 - "Response is Stale"'} if is_stale else {}


async def reply(
    request: Request, answer: Answer, *, cache: str = OPEN_CACHE, stale: bool = False
) -> Response:
    """Return ``answer`` as the client wants it: 304 if it has it already, compressed if it can."""
    headers = {"etag": answer.etag, "cache-control": cache, "vary": VARY}
    headers |= staleness(stale)
    if answer.etag in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    body = answer.body
    if len(body) >= MIN_PACKED_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        if answer.packed is None and len(body) >= PACK_IN_THREAD_BYTES:
            body = await asyncio.to_thread(answer.pack)
        else:
            body = answer.pack()
    return Response(body, 200, headers, media_type="application/json")
