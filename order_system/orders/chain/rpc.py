# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""JSON-RPC over HTTP to one node: a web3.py provider with bounds, and no retries of its own.

``RpcNode.calls`` is the fast door: answers stay undecoded (``msgspec.Raw``) until someone knows
their type, and every failure is one of `orders.chain.faults`. As the class is a web3.py provider
too, ``AsyncWeb3(node)`` works on it wherever ease matters more than speed.
"""

import json
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import msgspec
from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from linkora.errors import LinkoraError, TransientError
from orders.chain.faults import NO_JSON, classify, classify_status

Call = tuple[str, list[Any]]
"""Method and parameters."""

ERROR_BODY_BYTES = 4096
MAX_DEPTH = 4096
"""Python's own bound is not enough: libraries that web3.py brings lift it to 100,000."""
_DEPTH_OF_ANSWERS = 12
_NO_BRACKETS_NOR_QUOTES = bytes(set(range(256)) - set(b'[]{}"'))


class RpcErrorBody(msgspec.Struct, frozen=True):
    """The ``error`` of an answer."""

    code: int = 0
    message: str = ""


class Answer(msgspec.Struct, frozen=True):
    """One answer of a batch; ``result`` is JSON not decoded yet."""

    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: RpcErrorBody | None = None


_answers = msgspec.json.Decoder(list[Answer])
_answer = msgspec.json.Decoder(Answer)


class RpcNode(AsyncJSONBaseProvider):
    """One node behind one URL.

    Args:
        url: Where it answers; may carry a key, so it is never logged: ``name`` is.
        session: Connections, with their limits and timeouts.
        answer_bytes_max: Longest body that is read.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession, answer_bytes_max: int) -> None:
        super().__init__()
        self.url = url
        self.name = urlsplit(url).netloc.rpartition("@")[2]
        self._session = session
        self._answer_bytes_max = answer_bytes_max

    async def calls(self, calls: Sequence[Call]) -> list[msgspec.Raw | LinkoraError]:
        """Return result or error of each call, in their order, from one HTTP request.

        Raises:
            TransientError: If the node cannot be reached or answers something else.
            RateLimited: If it wants fewer requests.
            RejectedError: If it refuses the request as a whole.
            RangeTooLarge: If the request as a whole is too large for it.
        """
        body = msgspec.json.encode(
            [
                {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
                for number, (method, params) in enumerate(calls)
            ]
        )
        raw = await self._post(body)
        answers = self._decode(calls, raw)
        results: list[msgspec.Raw | LinkoraError | None] = [None] * len(calls)
        for answer in answers:
            number = int(answer.id) if isinstance(answer.id, int) else -1
            if not 0 <= number < len(calls) or results[number] is not None:
                raise TransientError(f"{self.name}: an answer to no question")
            results[number] = (
                classify(calls[number][0], answer.error.code, answer.error.message)
                if answer.error
                else answer.result
            )
        if any(result is None for result in results):
            raise TransientError(f"{self.name}: {len(answers)} answers to {len(calls)} questions")
        return cast("list[msgspec.Raw | LinkoraError]", results)

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Return an answer in web3.py's form."""
        answer = json.loads(await self._post(self.encode_rpc_request(method, params)))
        return cast("RPCResponse", answer)

    async def make_batch_request(
        self, requests: list[tuple[RPCEndpoint, Any]]
    ) -> list[RPCResponse] | RPCResponse:
        """Return the answers in web3.py's form, by their ids."""
        answers = json.loads(await self._post(self.encode_batch_rpc_request(requests)))
        if isinstance(answers, list):
            answers.sort(key=lambda answer: answer["id"])
        return cast("list[RPCResponse] | RPCResponse", answers)

    async def _post(self, body: bytes) -> bytes:
        headers = {"content-type": "application/json"}
        try:
            async with self._session.post(self.url, data=body, headers=headers) as response:
                if response.status != 200:
                    text = (await response.content.read(ERROR_BODY_BYTES)).decode(errors="replace")
                    raise _refusal(response.status, response.headers.get("retry-after"), text)
                return await self._read(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error).replace(self.url, self.name) or "no answer in time"
            raise TransientError(f"{self.name}: {type(error).__name__}: {reason}") from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        chunks = []
        size = 0
        async for chunk in response.content.iter_chunked(1 << 18):
            size += len(chunk)
            if size > self._answer_bytes_max:
                raise _too_long(self._answer_bytes_max)
            chunks.append(chunk)
        return b"".join(chunks)

    def _decode(self, calls: Sequence[Call], raw: bytes) -> list[Answer]:
        if is_too_deep(raw):
            raise TransientError(f"{self.name}: no JSON-RPC answer: nested too deep")
        try:
            if raw.lstrip()[:1] == b"[":
                return _answers.decode(raw)
            whole = _answer.decode(raw)
        except NO_JSON as error:
            raise TransientError(f"{self.name}: no JSON-RPC answer: {error}") from error
        if whole.error is not None:
            raise classify(calls[0][0], whole.error.code, whole.error.message)
        raise TransientError(f"{self.name}: one answer to a batch")


def is_too_deep(raw: bytes) -> bool:
    """Return whether JSON may be nested deeper than the stack holds; to be asked before decoding.

    The greatest answers have a million brackets and a depth of six: what the innermost ones are
    taken out of again and again is soon empty. Brackets within strings don't count, nor may they
    close others; a string without any leaves two quotes side by side.
    """
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    unescaped = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    structure = unescaped.translate(None, _NO_BRACKETS_NOR_QUOTES).replace(b'""', b"")
    if structure.count(b'"') > MAX_DEPTH:
        return True  # no node has a use for it
    brackets = b"".join(structure.split(b'"')[::2])
    for _ in range(_DEPTH_OF_ANSWERS):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return len(brackets) > MAX_DEPTH


def _refusal(status: int, retry_after: str | None, body: str) -> LinkoraError:
    """Prefer what a JSON-RPC error in the body says over the bare status."""
    try:
        answers = _answers.decode(body) if body.lstrip()[:1] == "[" else [_answer.decode(body)]
    except NO_JSON:
        answers = []
    plain = classify_status(status, retry_after, body)
    for answer in answers:
        if answer.error is not None and status not in {429, 503}:
            return classify("eth_getLogs", answer.error.code, answer.error.message)
    return plain


def _too_long(limit: int) -> LinkoraError:
    return classify("eth_getLogs", 0, f"response too large: more than {limit} bytes")
