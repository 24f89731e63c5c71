# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import csv
import gzip
import io
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import aiohttp
import pyarrow.ipc
import pyarrow.parquet
import pytest

from linkora.database import open_pool
from linkora.errors import RequestError, TransientError
from linkora.market import Candle
from linkora.settings import DatabaseSettings, RedisSettings
from linkora.timeframes import MINUTE_MS, TIMEFRAMES
from marketdata.export import PAGE_ROWS, Exporter
from marketdata.params import CandleRange
from marketdata.queries import CsvPage
from testkit.api_server import connected, in_thread, settings_with
from testkit.databases import Databases
from testkit.market import Collector, Server, minute

START_MS = 1_706_745_600_000
COUNT = 5_203  # more than one page


@pytest.fixture(scope="module")
def stored() -> list[Candle]:
    return [minute("BTCUSDT", START_MS + i * MINUTE_MS) for i in range(COUNT)]


@pytest.fixture(scope="module")
def export_port(
    databases: Databases, redis_server: RedisSettings, stored: list[Candle]
) -> Iterator[int]:
    async def fill(database: DatabaseSettings) -> None:
        async with open_pool(database, name="tests") as pool:
            await Collector(pool, None).store(stored)  # type: ignore[arg-type]

    with databases.migrated() as database:
        asyncio.run(fill(database))
        settings = settings_with(database=database, redis=redis_server, api_max_exports=1)
        with in_thread(settings) as port:
            yield port


@pytest.fixture
async def server(export_port: int) -> AsyncIterator[Server]:
    async with connected(export_port) as started:
        await started.until_healthy()
        yield started


async def body(server: Server, **params: Any) -> bytes:
    async with server.client.get("/candles", params=params) as response:
        assert response.status == 200
        return await response.read()


def rows(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode())))


async def test_csv_holds_the_whole_range_and_equals_json(
    server: Server, stored: list[Candle]
) -> None:
    table = rows(await body(server, symbol="BTCUSDT", format="csv"))
    assert [int(row["timestamp"]) for row in table] == [c.open_time_ms for c in stored]
    page = await server.get(
        "/candles", symbol="BTCUSDT", start_date=stored[5000].open_time_ms, limit=5000
    )
    as_text = [
        {
            name: str(value).lower() if value in (True, False) else str(value)
            for name, value in x.items()
        }
        for x in page
    ]
    assert table[5000:] == as_text


async def test_csv_comes_for_who_accepts_it_and_packed_if_wanted(server: Server) -> None:
    headers = {"Accept": "text/csv", "Accept-Encoding": "gzip"}
    url = f"http://127.0.0.1:{server.port}/candles?symbol=BTCUSDT"
    async with (
        aiohttp.ClientSession(auto_decompress=False) as client,
        client.get(url, headers=headers) as response,
    ):
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Content-Type"].startswith("text/csv")
        packed = await response.read()
    assert len(rows(gzip.decompress(packed))) == COUNT


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"limit": 7}, range(COUNT - 7, COUNT)),
        ({"limit": 3, "start_date": START_MS + MINUTE_MS}, range(1, 4)),
        ({"order": "desc", "limit": 4}, range(COUNT - 1, COUNT - 5, -1)),
        ({"order": "desc"}, range(COUNT - 1, -1, -1)),
        ({"end_date": START_MS + 9 * MINUTE_MS}, range(10)),
        ({"start_date": START_MS + 10_000 * MINUTE_MS}, range(0)),
    ],
)
async def test_csv_respects_range_limit_and_order(
    server: Server, params: dict[str, Any], expected: range
) -> None:
    table = rows(await body(server, symbol="BTCUSDT", format="csv", **params))
    assert [(int(row["timestamp"]) - START_MS) // MINUTE_MS for row in table] == list(expected)


async def test_parquet_and_arrow_hold_exact_numbers_and_utc_times(
    server: Server, stored: list[Candle]
) -> None:
    read: Any = pyarrow.parquet.read_table(
        io.BytesIO(await body(server, symbol="BTCUSDT", format="parquet"))
    )
    streamed = pyarrow.ipc.open_stream(await body(server, symbol="BTCUSDT", format="arrow"))
    assert read.equals(streamed.read_all())
    assert read.num_rows == COUNT
    assert str(read.schema.field("open_time").type) == "timestamp[ms, tz=UTC]"
    last = read.slice(COUNT - 1).to_pylist()[0]
    assert last["close_price"] == stored[-1].close
    assert isinstance(last["volume"], Decimal)
    assert int(last["open_time"].timestamp() * 1000) == stored[-1].open_time_ms


async def test_wider_timeframes_can_be_exported_too(server: Server) -> None:
    table = rows(await body(server, symbol="BTCUSDT", timeframe="1D", format="csv"))
    assert [int(row["timestamp"]) for row in table] == [
        START_MS + day * 86_400_000 for day in range(4)
    ]


class Made:
    """Candles without a database: ``count`` rows of one page each."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.failures = 0

    async def export_range(self, wanted: CandleRange) -> CandleRange:
        return wanted

    async def candles_csv(self, wanted: CandleRange) -> Any:
        if self.failures:
            self.failures -= 1
            raise TransientError("away")
        assert wanted.start_ms is not None
        left = self.pages * PAGE_ROWS - wanted.start_ms
        count = min(PAGE_ROWS, left)
        text = b"".join(b"%d\n" % (wanted.start_ms + i) for i in range(count))
        return CsvPage(count, wanted.start_ms, wanted.start_ms + count - 1, text)


WANTED = CandleRange("X", TIMEFRAMES["1"], 0, None, None, "asc")


async def test_exports_beyond_the_bound_are_told_to_come_back() -> None:
    exporter = Exporter(Made(2), most=1)
    running = await exporter.start(WANTED, "csv", is_packed=False)
    first = await anext(running)
    with pytest.raises(RequestError) as refused:
        await exporter.start(WANTED, "csv", is_packed=False)
    assert (refused.value.status, refused.value.retry_after_s) == (503, 10)
    rest = b"".join([chunk async for chunk in running])
    assert len((first + rest).splitlines()) == 1 + 2 * PAGE_ROWS
    assert await exporter.start(WANTED, "csv", is_packed=False)


async def test_exports_that_begin_together_are_counted_too() -> None:
    class Slow(Made):
        async def candles_csv(self, wanted: CandleRange) -> Any:
            await asyncio.sleep(0.01)
            return await super().candles_csv(wanted)

    exporter = Exporter(Slow(1), most=1)
    starts = [exporter.start(WANTED, "csv", is_packed=False) for _ in range(3)]
    told = await asyncio.gather(*starts, return_exceptions=True)
    assert [isinstance(each, RequestError) for each in told] == [False, True, True]


async def test_export_goes_on_after_the_database_was_away() -> None:
    made = Made(2)
    exporter = Exporter(made, most=1)
    running = await exporter.start(WANTED, "csv", is_packed=False)
    first = await anext(running)
    made.failures = 2
    rest = b"".join([chunk async for chunk in running])
    lines = (first + rest).splitlines()[1:]
    assert lines == [b"%d" % i for i in range(2 * PAGE_ROWS)]


async def test_parquet_is_small_and_comes_in_row_groups(
    server: Server, stored: list[Candle]
) -> None:
    packed = await body(server, symbol="BTCUSDT", format="parquet")
    whole: Any = pyarrow.parquet.ParquetFile(io.BytesIO(packed))
    assert whole.metadata.num_row_groups == 2  # written page by page, never held as a whole
    columns = [whole.metadata.row_group(0).column(i) for i in range(whole.metadata.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    as_csv = await body(server, symbol="BTCUSDT", format="csv")
    assert len(packed) / len(stored) < 70 < len(as_csv) / len(stored)
