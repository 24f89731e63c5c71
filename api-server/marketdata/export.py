# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Whole ranges of candles as CSV, Parquet or Arrow, streamed page by page.

The database makes the CSV; the other two are made of it by pyarrow's own reader, in a thread. No
connection is held while the client reads.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from linkora.backoff import Backoff
from linkora.errors import RequestError, TransientError
from marketdata.answers import GZIP_LEVEL, GZIP_WINDOW_BITS
from marketdata.encoders import ENCODERS
from marketdata.params import CandleRange

PAGE_ROWS = 5_000
MAX_TRIES = 8
RETRY_AFTER_S = 10


class Page(Protocol):
    """Some candles as CSV lines, each with its end, and the open times that they span."""

    @property
    def count(self) -> int: ...  # noqa: D102
    @property
    def first_ms(self) -> int: ...  # noqa: D102
    @property
    def last_ms(self) -> int: ...  # noqa: D102
    @property
    def text(self) -> bytes: ...  # noqa: D102


class Source(Protocol):
    """Where the candles come from. Its methods raise ``TransientError`` while that is away."""

    async def export_range(self, wanted: CandleRange) -> CandleRange:
        """Return ``wanted`` with a start."""

    async def candles_csv(self, wanted: CandleRange) -> Page:
        """Return at most ``wanted.limit`` candles as lines."""


class Exporter:
    """Streams exports, a few at a time.

    Args:
        source: Where the candles come from.
        most: How many exports this process makes at once.
    """

    def __init__(self, source: Source, most: int) -> None:
        self._source = source
        self._free = most

    async def start(
        self, wanted: CandleRange, kind: str, *, is_packed: bool
    ) -> AsyncIterator[bytes]:
        """Return the body's chunks; the first page is read before this returns.

        Raises:
            RequestError: 503 if too many exports run already.
            TransientError: If the first page cannot be read.
        """
        if self._free <= 0:
            raise RequestError(503, "Too many exports at the moment, try again", RETRY_AFTER_S)
        self._free -= 1
        try:
            wanted = await self._source.export_range(wanted)
            first = await self._source.candles_csv(_page_of(wanted))
        finally:
            self._free += 1  # the stream takes its place when it begins: it may never be read
        return self._stream(wanted, first, kind, is_packed=is_packed)

    async def _stream(
        self, wanted: CandleRange, first: Page, kind: str, *, is_packed: bool
    ) -> AsyncIterator[bytes]:
        encoder = ENCODERS[kind]()
        packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS)
        self._free -= 1
        try:
            async for page in self._pages(wanted, first):
                chunk = await asyncio.to_thread(encoder.page, page.text)
                yield await asyncio.to_thread(packer.compress, chunk) if is_packed else chunk
            last = await asyncio.to_thread(encoder.end)
            yield packer.compress(last) + packer.flush() if is_packed else last
        finally:
            self._free += 1

    async def _pages(self, wanted: CandleRange, page: Page) -> AsyncIterator[Page]:
        backoff = Backoff()
        while True:
            if page.count:
                yield page
            rest = rest_of(wanted, page)
            if rest is None:
                return
            wanted = rest
            for tries_left in reversed(range(MAX_TRIES)):
                try:
                    page = await self._source.candles_csv(_page_of(wanted))
                    break
                except TransientError:
                    if not tries_left:
                        raise  # the client sees that the body ends early
                    await asyncio.sleep(backoff.next_delay_s())


def _page_of(wanted: CandleRange) -> CandleRange:
    limit = PAGE_ROWS if wanted.limit is None else min(wanted.limit, PAGE_ROWS)
    return msgspec.structs.replace(wanted, limit=limit)


def rest_of(wanted: CandleRange, page: Page) -> CandleRange | None:
    """Return what is left of ``wanted`` after its first ``page``, ``None`` for nothing."""
    limit = None if wanted.limit is None else wanted.limit - page.count
    if page.count < PAGE_ROWS or limit == 0:
        return None
    if wanted.order == "desc":
        rest = msgspec.structs.replace(wanted, end_ms=page.first_ms - 1, limit=limit)
    else:
        rest = msgspec.structs.replace(wanted, start_ms=page.last_ms + 1, limit=limit)
    is_empty = None not in (rest.start_ms, rest.end_ms) and rest.start_ms > rest.end_ms  # type: ignore[operator]
    return None if is_empty else rest
