# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The door of the REST side: limits, bans, injected faults, headers, errors."""

import asyncio
import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from simulator.answers import FIREWALL_PAGE, RefusalError, banned, server_error, too_much_weight
from simulator.archive import Archive, FileMissingError
from simulator.exchange import Exchange
from simulator.faults import FaultKind, Faults
from simulator.params import Params
from simulator.rest import ENDPOINTS, Call, is_heavy
from simulator.weights import Charge, Limits, Meter

log = structlog.get_logger(__name__)

WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"
UNIT_HEADER = "X-MBX-TIME-UNIT"
_SERVER_STATUSES = (500, 502, 503, 504)
_GARBAGE_BYTES = 2_000
ATTEMPTS_WINDOW_S = 300
OFFENCES_BEFORE_BAN = 3
OFFENDER_BAN_S = 120


AnswerWith = Callable[[web.Request, Charge], Awaitable[web.Response]]


class Gate:
    """Serves every request under ``/api/``."""

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self._exchange = exchange
        self._faults = faults
        self._meters: defaultdict[str, Meter] = defaultdict(Meter)
        self._attempts: defaultdict[str, deque[float]] = defaultdict(deque)
        self._offences: Counter[str] = Counter()
        self._archive = Archive(exchange)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; everything that can become of it is counted."""
        exchange, counters = self._exchange, self._exchange.counters
        counters["requests"] += 1
        counters[f"requests {request.path}"] += 1
        if exchange.now_ms() < exchange.down_until_ms:
            counters["requests_while_down"] += 1
            return web.Response(status=503, text="Service Unavailable")
        charge = self._charge(request)
        if charge.status == 200:
            kind = self._faults.pick(request.path, exchange.switches)
            if kind:
                counters[f"fault_{kind}"] += 1
                log.info("fault_injected", kind=kind, path=request.path)
                return await self._misbehave(kind, request, charge)
        return await self._answer(request, charge)

    def refuse_socket(self, request: web.Request) -> web.Response | None:
        """Return the refusal of a WebSocket connection, ``None`` if it may be opened."""
        exchange, address, now_s = self._exchange, request.remote or "", time.monotonic()
        if exchange.now_ms() < exchange.down_until_ms:
            return web.Response(status=503, text="Service Unavailable")
        is_banned = exchange.now_ms() < self._meters[address].banned_until_ms
        if is_banned and self._offences[address] >= OFFENCES_BEFORE_BAN:
            return web.Response(status=418)
        attempts = self._attempts[address]
        while attempts and attempts[0] < now_s - ATTEMPTS_WINDOW_S:
            attempts.popleft()
        attempts.append(now_s)
        if len(attempts) > exchange.settings.max_connections_per_5m:
            exchange.counters["connections_refused"] += 1
            return web.Response(status=429, headers={"Retry-After": str(ATTEMPTS_WINDOW_S)})
        return None

    def note_offences(self, request: web.Request, offences: int) -> None:
        """Ban the address whose connections broke the rules too often."""
        address = request.remote or ""
        self._offences[address] += offences
        if offences and self._offences[address] >= OFFENCES_BEFORE_BAN:
            self._meters[address].ban(OFFENDER_BAN_S, self._exchange.now_ms())

    def ban_everybody(self, seconds: int) -> None:
        """Ban every address seen so far."""
        for meter in self._meters.values():
            meter.ban(seconds, self._exchange.now_ms())

    def forgive_everybody(self) -> None:
        """Forget weights, bans, connection attempts and offences."""
        self._meters.clear()
        self._attempts.clear()
        self._offences.clear()

    def banned_until_ms(self) -> dict[str, int]:
        """Return the end of every ban that still lasts, by address."""
        now_ms = self._exchange.now_ms()
        return {
            address: meter.banned_until_ms
            for address, meter in self._meters.items()
            if meter.banned_until_ms > now_ms
        }

    def _charge(self, request: web.Request) -> Charge:
        endpoint = ENDPOINTS.get(request.path)
        weight = endpoint.weight(dict(request.query)) if endpoint else 1
        meter = self._meters[request.remote or ""]
        charge = meter.charge(weight, self._limits(), self._exchange.now_ms())
        self._exchange.counters["weight"] += weight
        if charge.ignored:
            name = "requests_while_banned" if charge.ignored == "ban" else "requests_while_limited"
            self._exchange.counters[name] += 1
        return charge

    def _limits(self) -> Limits:
        switches = self._exchange.switches
        return Limits(switches.weight_limit, switches.ignored_429_limit, switches.first_ban_s)

    async def _answer(self, request: web.Request, charge: Charge) -> web.Response:
        """Return the right answer, or the refusal that the request or its address earned."""
        try:
            if charge.status == 429:
                raise too_much_weight(self._exchange.switches.weight_limit)
            if charge.status == 418:
                raise banned(charge.banned_until_ms)
            text, status = await self._compute(request), 200
        except RefusalError as refusal:
            status = refusal.status
            text = json.dumps({"code": refusal.code, "msg": str(refusal)}, separators=(",", ":"))
        return self._respond(text.encode(), status, charge)

    async def _compute(self, request: web.Request) -> str:
        endpoint = ENDPOINTS.get(request.path)
        if endpoint is None or request.method != "GET":
            raise RefusalError(-1000, "Path or method not served.", 404)
        params = Params(request.query.items(), endpoint.params)
        in_microseconds = request.headers.get(UNIT_HEADER, "").upper() == "MICROSECOND"
        call = Call(self._exchange, params, in_microseconds)
        if is_heavy(request.path, dict(request.query)):
            return await asyncio.to_thread(endpoint.answer, call)
        return endpoint.answer(call)

    def _respond(
        self, body: bytes, status: int, charge: Charge, content_type: str = "application/json"
    ) -> web.Response:
        self._exchange.counters[f"answers_{status}"] += 1
        headers = {WEIGHT_HEADER: str(charge.used), "X-MBX-USED-WEIGHT": str(charge.used)}
        if charge.retry_after_s:
            headers["Retry-After"] = str(charge.retry_after_s)
        return web.Response(
            body=body, status=status, headers=headers, content_type=content_type, charset="utf-8"
        )

    async def _misbehave(
        self, kind: FaultKind, request: web.Request, charge: Charge
    ) -> web.StreamResponse:
        exchange = self._exchange
        meter, now_ms = self._meters[request.remote or ""], exchange.now_ms()
        if kind == "429":
            limited = meter.limit(exchange.switches.fault_retry_after_s, now_ms)
            return await self._answer(request, limited)
        if kind == "418":
            return await self._answer(request, meter.ban(exchange.switches.fault_ban_s, now_ms))
        return await self._misspeak(kind, request, charge, self._answer)

    async def _misspeak(
        self, kind: FaultKind, request: web.Request, charge: Charge, answer: AnswerWith
    ) -> web.StreamResponse:
        """Answer as a broken server or middleman does."""
        exchange = self._exchange
        if kind == "5xx":
            refusal = server_error(exchange.rng.choice(_SERVER_STATUSES))
            text = json.dumps({"code": refusal.code, "msg": str(refusal)})
            return self._respond(text.encode(), refusal.status, charge)
        if kind == "html":
            return self._respond(FIREWALL_PAGE.encode(), 403, charge, "text/html")
        if kind == "garbage":
            return self._respond(exchange.rng.randbytes(_GARBAGE_BYTES), 200, charge)
        if kind == "slow":
            await asyncio.sleep(exchange.switches.slow_ms / 1_000)
            return await answer(request, charge)
        return await _cut(request, await answer(request, charge))

    async def serve_file(self, request: web.Request) -> web.StreamResponse:
        """Answer one request for an archive file; no limits hold there, but faults strike."""
        exchange, no_charge = self._exchange, Charge(200, 0)
        exchange.counters["archive_requests"] += 1
        if exchange.now_ms() < exchange.down_until_ms:
            return web.Response(status=503, text="Service Unavailable")
        kind = self._faults.pick(request.path, exchange.switches)
        if kind and kind not in ("429", "418"):
            exchange.counters[f"fault_{kind}"] += 1
            return await self._misspeak(kind, request, no_charge, self._answer_file)
        return await self._answer_file(request, no_charge)

    async def _answer_file(self, request: web.Request, _: Charge) -> web.Response:
        try:
            body = await asyncio.to_thread(self._archive.file, request.path)
        except FileMissingError:
            self._exchange.counters["archive_missing"] += 1
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        self._exchange.counters["archive_files"] += 1
        return web.Response(body=body, content_type="application/zip")


async def _cut(request: web.Request, answer: web.Response) -> web.StreamResponse:
    """Send the first half of an answer and close the connection."""
    body = answer.body
    assert isinstance(body, bytes)  # noqa: S101 - our own answers are bytes
    half = web.StreamResponse(status=answer.status, headers=answer.headers)
    half.content_length = len(body)
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return half
