# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The exchange's REST API: one session, one budget, errors in our own words."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import TypeVar

import aiohttp
import structlog

from collector.binance.forms import Depth, ErrorAnswer, ExchangeInfo, KlineRow, ServerTime
from collector.binance.wire import decode, decode_klines
from collector.budget import RequestBudget
from collector.clock import ExchangeClock
from collector.ports import SenselessError
from linkora.cancellation import give_way_to_cancellation
from linkora.errors import CorruptMessage, RejectedError, TransientError

T = TypeVar("T")
log = structlog.get_logger(__name__)

# Weights as of 2026: the exchange's documentation of each endpoint.
PING_WEIGHT, TIME_WEIGHT, EXCHANGE_INFO_WEIGHT, KLINES_WEIGHT = 1, 1, 20, 2
# -1000 unknown, -1001 disconnected, -1003 too many, -1006 and -1007 no answer, -1008 and -1016.
_RETRYABLE_CODES = frozenset({-1000, -1001, -1003, -1006, -1007, -1008, -1016})
_USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"
# How long to wait if a refusal names no time: the window of the limit.
_DEFAULT_PAUSE_S = 60
MAX_KLINES = 1000


def depth_weight(levels: int) -> int:
    """Return the weight of ``GET /api/v3/depth`` with that limit."""
    return next((w for most, w in ((100, 5), (500, 25), (1000, 50)) if levels <= most), 250)


class BinanceRest:
    """Requests to the exchange, each within the budget.

    Every method raises ``TransientError`` for what may pass (network, limits, the exchange's own
    troubles, answers that make no sense) and ``RejectedError`` for what will not.

    Args:
        base_url: Such as ``https://data-api.binance.vision``.
        session: The HTTP session; its timeout bounds every request.
        on_ban: Told the end of a ban or pause, Unix ms, so that it outlives a restart.
    """

    def __init__(
        self,
        base_url: str,
        session: aiohttp.ClientSession,
        budget: RequestBudget,
        clock: ExchangeClock,
        on_ban: Callable[[int], Awaitable[None]],
        requests_at_once: int,
    ) -> None:
        self._base_url = base_url
        self._session = session
        self._budget = budget
        self._clock = clock
        self._on_ban = on_ban
        self._places = asyncio.Semaphore(requests_at_once)
        # One place is kept for the live candles.
        self._background_places = asyncio.Semaphore(max(1, requests_at_once - 1))
        self.requests = 0

    async def server_time(self) -> int:
        """Return the exchange's time, Unix ms, and set our clock by it."""
        answer = await self._ask(ServerTime, "/api/v3/time", {}, TIME_WEIGHT)
        self._clock.set(answer.serverTime)
        return answer.serverTime

    async def exchange_info(self) -> ExchangeInfo:
        """Return symbols and limits; the budget takes the limit over."""
        info = await self._ask(ExchangeInfo, "/api/v3/exchangeInfo", {}, EXCHANGE_INFO_WEIGHT)
        if not info.symbols:
            raise SenselessError("exchange: lists no symbols")
        self._clock.set(info.serverTime)
        if limit := info.weight_per_minute:
            self._budget.set_limit(limit)
        return info

    async def klines(
        self,
        symbol: str,
        *,
        start_ms: int,
        end_ms: int | None = None,
        limit: int = MAX_KLINES,
        interval: str = "1m",
        is_background: bool = False,
    ) -> tuple[bytes, list[KlineRow]]:
        """Return the klines that open from ``start_ms`` to ``end_ms``, both included.

        Returns:
            The answer as it came, and its rows, ascending; the last one may be running still.
        """
        params: dict[str, str | int] = {
            "symbol": symbol,
            "interval": interval,
            "startTime": start_ms,
            "limit": limit,
        }
        if end_ms is not None:
            params["endTime"] = end_ms
        body = await self._get("/api/v3/klines", params, KLINES_WEIGHT, is_background)
        try:
            return body, decode_klines(body)
        except CorruptMessage as error:
            raise SenselessError(f"exchange: senseless klines: {error}") from error

    async def depth(self, symbol: str, limit: int) -> Depth:
        """Return a snapshot of the order book with up to ``limit`` levels a side."""
        params: dict[str, str | int] = {"symbol": symbol, "limit": limit}
        return await self._ask(Depth, "/api/v3/depth", params, depth_weight(limit))

    async def _ask(self, form: type[T], path: str, params: dict[str, str | int], weight: int) -> T:
        body = await self._get(path, params, weight, is_background=False)
        try:
            return decode(form, body)
        except CorruptMessage as error:
            raise SenselessError(f"exchange: senseless answer to {path}: {error}") from error

    async def _get(
        self, path: str, params: dict[str, str | int], weight: int, is_background: bool
    ) -> bytes:
        async with self._turn(weight, is_background):
            self.requests += 1
            sent_ms = self._clock.now_ms()
            reported = None
            try:
                async with self._session.get(self._base_url + path, params=params) as answer:
                    reported = _whole_number(answer.headers.get(_USED_WEIGHT))
                    # A refusal counts from its first byte on: its body may never come.
                    if answer.status in (418, 429):
                        await self._obey(answer.status, answer.headers.get("Retry-After"), None)
                    body = await answer.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                give_way_to_cancellation(error)
                raise TransientError(f"exchange: {type(error).__name__}: {error}") from error
            finally:
                self._budget.answered(weight, reported, self._clock.now_ms(), sent_ms)
            if answer.status == 200:
                return body
            raise await self._refusal(answer.status, answer.headers.get("Retry-After"), body)

    @asynccontextmanager
    async def _turn(self, weight: int, is_background: bool) -> AsyncIterator[None]:
        """Wait for budget and a place, and spend the weight; holding a place, wait for nothing."""
        async with self._background_places if is_background else nullcontext():
            while True:
                async with self._places:
                    now_ms = self._clock.now_ms()
                    delay_ms = self._budget.delay_ms(weight, now_ms, is_background=is_background)
                    if not delay_ms:
                        self._budget.spend(weight, now_ms)
                        yield
                        return
                await asyncio.sleep(delay_ms / 1000)

    async def _refusal(
        self, status: int, retry_after: str | None, body: bytes
    ) -> TransientError | RejectedError:
        try:
            error = decode(ErrorAnswer, body)
        except CorruptMessage:
            error = ErrorAnswer(0, body[:80].decode("utf-8", "replace"))
        if status in (418, 429) or error.code == -1003:
            wait_s = await self._obey(status, retry_after, error)
            return TransientError(f"exchange: {status} {error.msg}", wait_s)
        text = f"exchange: {status} {error.code} {error.msg}"
        if status == 400 and error.code not in _RETRYABLE_CODES:
            return RejectedError(text)
        return TransientError(text, _whole_number(retry_after))

    async def _obey(self, status: int, retry_after: str | None, error: ErrorAnswer | None) -> float:
        """Stop all requests for as long as the exchange demands; return the seconds."""
        now_ms = self._clock.now_ms()
        named_s = _whole_number(retry_after)
        until_ms = now_ms + (_DEFAULT_PAUSE_S if named_s is None else named_s) * 1000
        if error and error.banned_until_ms:
            until_ms = max(until_ms, error.banned_until_ms)
        if until_ms > self._budget.pause_until_ms:
            log.warning("requests_paused", status=status, seconds=(until_ms - now_ms) / 1000)
            self._budget.pause(until_ms)
            await self._on_ban(self._budget.pause_until_ms)
        return max(0.0, (until_ms - now_ms) / 1000)


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
