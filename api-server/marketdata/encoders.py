# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Candles as CSV, Parquet and Arrow: lines of CSV go in, chunks of a body come out."""

from collections.abc import Callable
from typing import Any, Protocol

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import csv, ipc, parquet

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
_WHOLE_NUMBERS = ("timestamp", "open_time", "close_time", "trades")
CSV_HEADER = (",".join(COLUMNS) + "\n").encode()
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}


class Encoder(Protocol):
    """Turns pages of CSV lines into a body."""

    def page(self, text: bytes) -> bytes:
        """Return the chunk that these lines add."""

    def end(self) -> bytes:
        """Return the last chunk."""


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
    """One row group a page, compressed with zstd.

    Times and counts are written as differences, and prices without a dictionary, which would hold
    nearly every value once more: 49 bytes a row instead of 76, and less work.
    """

    def __init__(self) -> None:
        self._sink = _Sink()
        self._writer: Any = parquet.ParquetWriter(
            self._sink,
            SCHEMA,
            compression="zstd",
            use_dictionary=False,
            column_encoding=dict.fromkeys(_WHOLE_NUMBERS, "DELTA_BINARY_PACKED"),
        )

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


ENCODERS: dict[str, Callable[[], Encoder]] = {
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
