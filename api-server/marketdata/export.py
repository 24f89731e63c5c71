# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Whole ranges of candles as CSV, Parquet or Arrow, streamed page by page.

The database makes the CSV; the other two are made of it by pyarrow's own reader, in a thread. No
connection is held while the client reads.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import csv, ipc, parquet

from linkora.backoff import Backoff
from linkora.errors import RequestError, TransientError
from marketdata.params import CandleRange

PAGE_ROWS = 5_000
MAX_TRIES = 8
RETRY_AFTER_S = 10
GZIP_LEVEL = 1
_GZIP_WINDOW_BITS = 31

_AMOUNT = pa.decimal128(38, 12)
_TIME = pa.timestamp("ms", tz="UTC")
SCHEMA = pa.schema(
    [
        ("timestamp", pa.int64()),
        ("open_time", _TIME),
        ("close_time", _TIME),
        *((name, _AMOUNT) for name in ("open_price", "high_price", "low_price", "close_price")),
        *((name, _AMOUNT) for name in ("volume", "quote_volume")),
        ("trades", pa.int64()),
        *((name, _AMOUNT) for name in ("taker_buy_volume", "taker_buy_quote_volume")),
        ("is_closed", pa.bool_()),
    ]
)
COLUMNS = SCHEMA.names
CSV_HEADER = (",".join(COLUMNS) + "\n").encode()
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}


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


class Encoder(Protocol):
    """Turns pages of CSV lines into a body."""

    def page(self, text: bytes) -> bytes:
        """Return the chunk that these lines add."""

    def end(self) -> bytes:
        """Return the last chunk."""


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
        wanted = await self._source.export_range(wanted)
        first = await self._source.candles_csv(_page_of(wanted))
        return self._stream(wanted, first, kind, is_packed=is_packed)

    async def _stream(
        self, wanted: CandleRange, first: Page, kind: str, *, is_packed: bool
    ) -> AsyncIterator[bytes]:
        encoder = _ENCODERS[kind]()
        packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW_BITS)
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


class _CsvEncoder:
    def __init__(self) -> None:
        self._header = CSV_HEADER

    def page(self, text: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + text

    def end(self) -> bytes:
        return self._header


class _Sink:
    """A file that is read off as it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._length += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._length

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class _ParquetEncoder:
    """One row group a page, compressed with zstd."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._writer: Any = parquet.ParquetWriter(self._sink, SCHEMA, compression="zstd")

    def page(self, text: bytes) -> bytes:
        self._writer.write_table(_table(text))
        return self._sink.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._sink.take()


class _ArrowEncoder:
    """One record batch a page, in the streaming format."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._writer: Any = ipc.new_stream(pa.PythonFile(self._sink, mode="w"), SCHEMA)

    def page(self, text: bytes) -> bytes:
        self._writer.write_table(_table(text))
        return self._sink.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._sink.take()


_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "csv": _CsvEncoder,
    "parquet": _ParquetEncoder,
    "arrow": _ArrowEncoder,
}


def _table(text: bytes) -> Any:
    return csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(column_names=COLUMNS, use_threads=False),
        convert_options=csv.ConvertOptions(column_types=SCHEMA),
    )
