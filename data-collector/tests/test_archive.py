# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import hashlib
import io
import json
import zipfile

import aiohttp
import pytest

from collector.archived import ArchivedDays
from collector.binance.archive import Archive
from collector.binance.archive_file import check, complete_days
from collector.gaps import MinuteRange, split_at, whole_days
from collector.settings import Settings
from linkora.errors import CorruptMessage
from simulator.testing import running_exchange

MINUTE = 60_000
DAY = 1440 * MINUTE
OLD = 1_717_200_000_000  # 2024-06-01, times in milliseconds
NEW = 1_748_736_000_000  # 2025-06-01, times in microseconds


def line(open_ms: int, unit: int = 1) -> str:
    closes = (open_ms + MINUTE) * unit - 1
    return f"{open_ms * unit},1.5,2,1,1.7,10,{closes},15,3,4,6,0"


def zipped(text: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("file.csv", text)
    return content.getvalue()


def day(start_ms: int, minutes: int = 1440, unit: int = 1) -> str:
    return "\n".join(line(start_ms + n * MINUTE, unit) for n in range(minutes))


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_day_with_all_its_minutes_is_a_klines_page_in_milliseconds(unit):
    days = complete_days(zipped(day(OLD, unit=unit)))
    rows = json.loads(days[OLD])
    assert len(rows) == 1440
    assert rows[1] == [
        OLD + MINUTE, "1.5", "2", "1", "1.7", "10", OLD + 2 * MINUTE - 1, "15", 3, "4", "6",
    ]  # fmt: skip


def test_a_day_that_lacks_a_minute_is_left_to_the_rest_api():
    text = day(OLD, 1439) + "\n" + day(OLD + DAY)
    assert list(complete_days(zipped(text))) == [OLD + DAY]


@pytest.mark.parametrize("content", [b"", b"PK", zipped("open,high"), zipped(line(OLD) + ",x,y")])
def test_what_is_no_archive_file_is_refused(content):
    with pytest.raises(CorruptMessage):
        complete_days(content)


def test_a_file_must_match_its_checksum():
    check(b"x", f"{hashlib.sha256(b'x').hexdigest()}  x.zip".encode())
    for wrong in (b"", b"0  x.zip", b"\xff"):
        with pytest.raises(CorruptMessage):
            check(b"x", wrong)


def test_only_whole_days_are_asked_of_the_archive_newest_first():
    ranges = [MinuteRange(OLD + 1, OLD + 3 * DAY), MinuteRange(OLD + 5 * DAY, OLD + 6 * DAY)]
    assert whole_days(ranges) == [OLD + 5 * DAY, OLD + 2 * DAY, OLD + DAY]


def test_ranges_are_split_at_a_moment():
    ranges = [MinuteRange(0, 10), MinuteRange(20, 30)]
    assert split_at(ranges, 5) == ([MinuteRange(0, 5)], [MinuteRange(5, 10), MinuteRange(20, 30)])


@pytest.mark.parametrize(
    ("switches", "days_found"),
    [({}, 20), ({"archive_wrong_checksum": True}, 0), ({"archive_truncated": True}, 20)],
)
async def test_days_come_from_the_monthly_file_then_from_daily_ones(switches, days_found):
    async with (
        running_exchange(symbols="BTCUSDT", **switches) as exchange,
        aiohttp.ClientSession() as session,
    ):
        archived = ArchivedDays(Archive(exchange.rest_url, session))
        days = [NEW + n * DAY for n in reversed(range(20))]
        found = await archived.fetch("BTCUSDT", days)
        # A month cut by a third has its first twenty days; of a cut day nothing can be used.
        assert len(found) == days_found
        for day_ms, body in found.items():
            truth = exchange.truth_klines("BTCUSDT", day_ms, day_ms + DAY - 1)
            assert [row[:11] for row in json.loads(body)] == [row[:11] for row in truth]


def test_a_simulators_history_is_never_mixed_with_the_real_archive(monkeypatch):
    assert Settings().archive_url == "https://data.binance.vision"
    monkeypatch.setenv("BINANCE_BASE_URL", "http://127.0.0.1:9080")
    assert Settings().archive_url is None
    monkeypatch.setenv("BINANCE_ARCHIVE_URL", "http://127.0.0.1:9080/")
    assert Settings().archive_url == "http://127.0.0.1:9080"
    monkeypatch.setenv("BINANCE_ARCHIVE_URL", "off")
    assert Settings().archive_url is None
