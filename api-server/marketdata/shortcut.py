# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A short way for what is asked most: the newest candles again, nothing having changed.

``Rest`` remembers which query strings it answered from the board. While the board's version is the
same, so is the answer, and neither routing nor parsing the query again would tell anything new.
It stands behind all guards: limits, CORS and request ids hold here as everywhere.
"""

from collections.abc import Hashable

from starlette.types import ASGIApp, Receive, Scope, Send

from marketdata.answers import Answer, Answers
from marketdata.board import Board

PATH = "/candles"
MAX_KNOWN = 4096
# All parameters there are need less; a client may add tens of kilobytes that mean nothing.
MAX_QUERY_BYTES = 256


class KnownQueries:
    """Which query strings ask for which answers.

    Args:
        board: Says whether an answer still holds.
        answers: The encoded answers.
    """

    def __init__(self, board: Board, answers: Answers) -> None:
        self._board = board
        self._answers = answers
        self._known: dict[bytes, tuple[str, Hashable]] = {}

    def remember(self, query_string: bytes, symbol: str, key: Hashable) -> None:
        """Note that ``query_string``, unless it is too long, asks for the answer ``key``.

        Args:
            query_string: As the client sent it.
            symbol: Whose candles it asks for.
            key: The answer's key in ``Answers``.
        """
        if len(query_string) > MAX_QUERY_BYTES:
            return
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[query_string] = (symbol, key)

    def find(self, query_string: bytes) -> Answer | None:
        """Return the answer to ``query_string`` if there is one that still holds."""
        known = self._known.get(query_string)
        if known is None or known[0] not in self._board.live:
            return None
        return self._answers.get(known[1], self._board.version(known[0]))


class Shortcut:
    """Answers ``GET /candles`` from what is known; everything else goes on."""

    def __init__(self, app: ASGIApp, known: KnownQueries) -> None:
        self._app = app
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "GET":
            answer = self._known.find(scope["query_string"])
            if answer is not None and _wants_all(scope):
                scope["endpoint"] = candles
                await send(
                    {
                        "type": "http.response.start",
                        "status": 200,
                        "headers": [*answer.raw_headers],
                    }
                )
                await send({"type": "http.response.body", "body": answer.body})
                return
        await self._app(scope, receive, send)


def candles() -> None:
    """Give the metrics the name under which ``Rest.candles`` is counted."""


def _wants_all(scope: Scope) -> bool:
    """Return whether the client wants the plain body: not packed, not only if it changed."""
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            if b"gzip" in value:
                return False
        elif name == b"if-none-match" or (name == b"accept" and value != b"*/*"):
            return False
    return True
