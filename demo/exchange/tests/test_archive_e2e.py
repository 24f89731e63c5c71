# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The archive of klines, read as its clients do."""

import hashlib
import io
import zipfile
from datetime import UTC, datetime

import aiohttp
import pytest

from simulator.testing import RunningExchange

Rows = list[list[str]]


def ms(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp()) * 1_000  # type: ignore[misc, arg-type]


async def fetch(
    http: aiohttp.ClientSession, exchange: RunningExchange, period: str, name: str
) -> tuple[int, bytes]:
    symbol, interval, *_ = name.split("-")
    url = f"{exchange.rest_url}/data/spot/{period}/klines/{symbol}/{interval}/{name}"
    async with http.get(url) as answer:
        return answer.status, await answer.read()


def rows_of(content: bytes) -> Rows:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = archive.namelist()
        return [line.split(",") for line in archive.read(name).decode().splitlines()]


def as_text(rows: list[list[object]]) -> Rows:
    return [[str(field) for field in row] for row in rows]


async def test_a_day_in_milliseconds_equals_the_rest_rows_and_its_checksum(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    name = "BTCUSDT-1m-2024-02-29.zip"
    status, content = await fetch(http, exchange, "daily", name)
    assert status == 200
    truth = exchange.truth_klines("BTCUSDT", ms(2024, 2, 29), ms(2024, 3, 1) - 1)
    assert rows_of(content) == as_text(truth)
    assert len(truth) == 1_440
    _, checksum = await fetch(http, exchange, "daily", name + ".CHECKSUM")
    assert checksum.decode() == f"{hashlib.sha256(content).hexdigest()}  {name}\n"


async def test_a_month_from_2025_on_is_in_microseconds(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    _, content = await fetch(http, exchange, "monthly", "SOLUSDT-1h-2025-01.zip")
    rows = rows_of(content)
    assert len(rows) == 31 * 24
    assert [rows[0][0], rows[0][6]] == ["1735689600000000", "1735693199999999"]
    _, content = await fetch(http, exchange, "monthly", "SOLUSDT-1mo-2024-12.zip")
    assert [row[0] for row in rows_of(content)] == [str(ms(2024, 12, 1))]


@pytest.mark.parametrize(
    ("period", "name", "now_ms", "status"),
    [
        ("daily", "BTCUSDT-1h-2026-03-10.zip", ms(2026, 3, 11, 5), 404),
        ("daily", "BTCUSDT-1h-2026-03-10.zip", ms(2026, 3, 11, 7), 200),
        ("monthly", "BTCUSDT-1h-2026-03.zip", ms(2026, 4, 5), 404),
        ("monthly", "BTCUSDT-1h-2026-03.zip", ms(2026, 4, 6), 200),
        ("daily", "NOPEUSDT-1h-2026-01-10.zip", ms(2026, 4, 6), 404),
        ("daily", "BTCUSDT-1w-2026-01-10.zip", ms(2026, 4, 6), 404),
        ("daily", "BTCUSDT-1h-2026-01-32.zip", ms(2026, 4, 6), 404),
        ("monthly", "BTCUSDT-1h-2016-12.zip", ms(2026, 4, 6), 404),
    ],
)
async def test_files_appear_late_and_only_where_there_is_history(
    http: aiohttp.ClientSession,
    exchange: RunningExchange,
    period: str,
    name: str,
    now_ms: int,
    status: int,
) -> None:
    exchange.set_now(now_ms)
    assert (await fetch(http, exchange, period, name))[0] == status
    assert (await fetch(http, exchange, period, name + ".CHECKSUM"))[0] == status


async def test_files_can_be_wrong(http: aiohttp.ClientSession, exchange: RunningExchange) -> None:
    name = "BTCUSDT-1m-2024-03-01.zip"
    exchange.control(archive_wrong_checksum=True, archive_truncated=True)
    _, content = await fetch(http, exchange, "daily", name)
    _, checksum = await fetch(http, exchange, "daily", name + ".CHECKSUM")
    assert len(rows_of(content)) == 960
    assert not checksum.decode().startswith(hashlib.sha256(content).hexdigest())
    exchange.control(fault_path="/data/", fault_5xx=1.0)
    assert (await fetch(http, exchange, "daily", name))[0] >= 500


async def test_a_day_of_outage_has_no_file(
    http: aiohttp.ClientSession, exchange: RunningExchange
) -> None:
    exchange.act("outage", start_ms=ms(2024, 2, 9), end_ms=ms(2024, 2, 11, 10))
    statuses = [
        (await fetch(http, exchange, "daily", f"BTCUSDT-1m-2024-02-{day}.zip"))[0]
        for day in ("08", "09", "10", "11")
    ]
    assert statuses == [200, 404, 404, 200]
