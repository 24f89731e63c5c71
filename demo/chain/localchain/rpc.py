# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A small JSON-RPC client for a node at home: every error rises, nothing is retried."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import aiohttp

REQUEST_TIMEOUT_S = 60.0


class RpcError(Exception):
    """The node answered with a JSON-RPC error (``code`` as in the answer)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Rpc:
    """Calls of one node. Use it as an async context manager, so that its sockets are closed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, *params: Any) -> Any:
        """Return the ``result`` of one call.

        Raises:
            RpcError: If the node refuses.
            aiohttp.ClientError: If the node cannot be reached.
        """
        return (await self.batch([(method, list(params))]))[0]

    async def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Return the results of several calls in their order, sent as one request."""
        if self._session is None:
            message = "Rpc is used outside of its async with"
            raise RuntimeError(message)
        body = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(calls)
        ]
        async with self._session.post(self.url, json=body) as response:
            answers = await response.json(content_type=None)
        if isinstance(answers, dict):
            answers = [answers]
        results: list[Any] = [None] * len(body)
        for answer in answers:
            if "error" in answer:
                raise RpcError(answer["error"]["code"], answer["error"]["message"])
            results[answer["id"]] = answer["result"]
        return results
