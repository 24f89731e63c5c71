# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What a check works with: a client that notes where it has been, and ways to fail."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from connection import START_HINT, NotThereError


class CheckFailedError(Exception):
    """Something is not as it must be; the text says what."""


class NothingToCheckError(Exception):
    """There is nothing yet that could be right or wrong; the text says what is missing."""


@dataclass
class Check:
    """One line of the table.

    Attributes:
        name: What is claimed.
        run: Returns what to show beside a success; raises ``CheckFailedError`` or
            ``NothingToCheckError``.
    """

    name: str
    run: Callable[[], Awaitable[str]]


def expect(claim: bool, otherwise: str) -> None:
    """Fail the check unless the claim is true."""
    if not claim:
        raise CheckFailedError(otherwise)


@dataclass
class Probe:
    """A client of one service.

    Attributes:
        client: Its connection.
        visited: The paths that have been asked for.
    """

    client: httpx.AsyncClient
    visited: set[str] = field(default_factory=set)

    async def ask(self, path: str, *, must_be: int = 200, **query: Any) -> httpx.Response:
        """Return an answer, which must have that status."""
        self.visited.add(path)
        headers = query.pop("headers", None)
        try:
            answer = await self.client.get(path, params=query, headers=headers)
        except httpx.TransportError as error:
            message = f"{self.client.base_url} does not answer ({error}).\n{START_HINT}"
            raise NotThereError(message) from error
        expect(
            answer.status_code == must_be,
            f"{answer.url.raw_path.decode()}: {answer.status_code} instead of {must_be}: "
            f"{answer.text[:200]}",
        )
        return answer

    async def read(self, path: str, **query: Any) -> Any:
        """Return the decoded body of a 200."""
        return (await self.ask(path, **query)).json()

    async def refused(self, path: str, code: int, part: str, **query: Any) -> None:
        """Fail unless the request is refused with that status, and a text that has ``part``."""
        answer = await self.ask(path, must_be=code, **query)
        told = answer.json().get("error", "")
        expect(part in told, f"{path}: the error should say {part!r}: {told!r}")

    async def documented(self) -> str:
        """Fail unless every path of ``/openapi.json`` has been asked for by some check."""
        document = await self.read("/openapi.json")
        expect(document["openapi"].startswith("3.1"), "not OpenAPI 3.1")
        missing = [
            path
            for path, operations in document["paths"].items()
            if "get" in operations and not any(map(_pattern(path).fullmatch, self.visited))
        ]
        expect(not missing, f"documented, but not checked: {', '.join(missing)}")
        return f"{len(document['paths'])} paths"


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[^/]+\\\}", "[^/]+", re.escape(template)))
