# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A provider as bad as they come, in front of a real node: seeded, so that it can be bad again."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
from aiohttp import web

Answer = dict[str, Any]
FAULTS = (
    "http_429", "http_500", "html", "cut", "slow", "lose_logs", "lose_some", "double", "clip",
    "lag", "too_large", "null_head", "removed", "foreign_log", "rate_error", "short_batch",
)  # fmt: skip


class FlakyProxy:
    """Passes requests on to a node, and spoils a share of the answers.

    Args:
        upstream: The node's URL.
        rng: Decides what goes wrong when.
        rate: The share of requests that are spoilt, 0 to 1.
        faults: What may go wrong.
        max_range: Blocks of ``eth_getLogs`` beyond which it refuses; None for no limit.
        max_calls: Calls in one request beyond which it refuses it; None for no limit.
    """

    def __init__(
        self,
        upstream: str,
        rng: random.Random,
        rate: float,
        faults: tuple[str, ...] = FAULTS,
        max_range: int | None = None,
        max_calls: int | None = None,
    ) -> None:
        self._upstream = upstream
        self._rng = rng
        self.rate = rate
        self.faults = faults
        self.max_range = max_range
        self.max_calls = max_calls
        self.seen: dict[str, int] = {}
        self.requests = 0
        self.answered = 0
        """Requests that are answered honestly before any is spoilt."""
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        calls = await request.json()
        self.answered -= 1
        fault = (
            self._rng.choice(self.faults)
            if self._rng.random() < self.rate and self.answered < 0
            else ""
        )
        if fault:
            self.seen[fault] = self.seen.get(fault, 0) + 1
        if self.max_calls is not None and len(calls) > self.max_calls:
            return web.Response(status=413, text="request entity too large")
        early = self._refuse(fault)
        if early is not None:
            return early
        if fault == "slow":
            await asyncio.sleep(0.3)
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._upstream, json=calls) as response,
        ):
            answers = await response.json(content_type=None)
        asked = {call["id"]: call for call in calls}
        answers = [self._spoil(fault, asked[answer["id"]], answer) for answer in answers]
        if fault == "short_batch":
            answers = answers[:-1]
        self._rng.shuffle(answers)  # the order of a batch's answers is nobody's promise
        if fault == "cut":
            reply = web.StreamResponse(headers={"content-length": "100000"})
            await reply.prepare(request)
            await reply.write(b'[{"jsonrpc"')
            assert request.transport is not None
            request.transport.abort()
            return reply
        return web.json_response(answers)

    def _refuse(self, fault: str) -> web.Response | None:
        if fault == "http_429":
            return web.Response(status=429, headers={"retry-after": "0"}, text="slow down")
        if fault == "http_500":
            return web.Response(status=500, text="internal error")
        if fault == "html":
            return web.Response(text="<html>bad gateway</html>", content_type="text/html")
        return None

    def _spoil(self, fault: str, call: Answer, answer: Answer) -> Answer:
        logs = call["method"] == "eth_getLogs" and isinstance(answer.get("result"), list)
        if logs and self.max_range is not None and self._is_too_wide(call):
            return _error(answer, -32005, f"query exceeds max block range {self.max_range}")
        if logs and (change := LOG_FAULTS.get(fault)):
            return answer | {"result": change(answer["result"], self._rng)}
        if fault == "too_large" and logs:
            return _error(answer, -32005, "query returned more than 10000 results")
        if fault == "rate_error":
            return _error(answer, -32005, "daily request count exceeded, request rate limited")
        is_block = call["method"] == "eth_getBlockByNumber"
        if fault == "null_head" and is_block:
            return answer | {"result": None}
        if fault == "withhold" and is_block and call["params"][0].startswith("0x"):
            return answer if int(call["params"][0], 16) == 0 else answer | {"result": None}
        if fault == "boast" and is_block and call["params"][0] == "latest":
            number = int(answer["result"]["number"], 16)
            return answer | {"result": answer["result"] | {"number": hex(number + 1000)}}
        if fault == "lag" and is_block and call["params"][0] == "latest":
            number = int(answer["result"]["number"], 16)
            return answer | {"result": answer["result"] | {"number": hex(max(0, number - 7))}}
        return answer

    def _is_too_wide(self, call: Answer) -> bool:
        wanted = call["params"][0]
        if "fromBlock" not in wanted:
            return False
        width = int(wanted["toBlock"], 16) - int(wanted["fromBlock"], 16) + 1
        return width > (self.max_range or width)


def _error(answer: Answer, code: int, message: str) -> Answer:
    return {"jsonrpc": "2.0", "id": answer["id"], "error": {"code": code, "message": message}}


def _lose_some(logs: list[Answer], rng: random.Random) -> list[Answer]:
    return [log for log in logs if rng.random() < 0.7]


def _foreign(logs: list[Answer], _: random.Random) -> list[Answer]:
    return [log | {"address": "0x" + "99" * 20} for log in logs]


LOG_FAULTS: dict[str, Callable[[list[Answer], random.Random], list[Answer]]] = {
    "lose_logs": lambda logs, _: [],
    "lose_some": _lose_some,
    "double": lambda logs, _: logs + logs[:1],
    "clip": lambda logs, _: logs[: len(logs) // 2],
    "removed": lambda logs, _: [log | {"removed": True} for log in logs],
    "foreign_log": _foreign,
}


@contextlib.asynccontextmanager
async def flaky(
    upstream: str, rng: random.Random, rate: float, **more: Any
) -> AsyncIterator[FlakyProxy]:
    """Yield a proxy in front of ``upstream`` on a free port."""
    proxy = FlakyProxy(upstream, rng, rate, **more)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/", proxy.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]
    proxy.url = f"http://127.0.0.1:{port}/"
    try:
        yield proxy
    finally:
        await runner.cleanup()
