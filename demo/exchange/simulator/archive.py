# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The archive of klines, as files by month and by day.

Layout and habits of the exchange's public archive: zipped CSV without a header beside a
``.CHECKSUM`` of its SHA-256; times in microseconds from 2025 on, in milliseconds before; a day's
file comes the next day, a month's on the first Monday after it; monthly klines are called ``1mo``.
"""

import hashlib
import io
import re
import zipfile
from collections import OrderedDict
from datetime import UTC, datetime, timedelta

import msgspec

from simulator import wire
from simulator.exchange import Exchange
from simulator.history import find_klines
from simulator.intervals import DAY_MS, HOUR_MS, INTERVALS
from simulator.randomness import Int64s
from simulator.symbols import Symbol

MICROSECONDS_FROM_MS = 1_735_689_600_000  # 2025-01-01
DAILY_DELAY_MS = 6 * HOUR_MS
CACHED_FILES = 32
_MONTH_NAME = "1mo"
_MONTHLY_ONLY = ("3d", "1w", _MONTH_NAME)
_PATH = re.compile(
    r"^/data/spot/(?P<period>monthly|daily)/klines/(?P<symbol>[^/]+)/(?P<interval>\w+)/"
    r"(?P=symbol)-(?P=interval)-(?P<date>\d{4}-\d\d(?:-\d\d)?)\.zip(?P<checksum>\.CHECKSUM)?$"
)


class FileMissingError(LookupError):
    """A file that is not in the archive: 404."""


class Wanted(msgspec.Struct, frozen=True):
    """A file that may be in the archive.

    Attributes:
        symbol: Symbol name.
        interval: Interval in the archive's spelling.
        date: Month or day, as in the name.
        start_ms: First open time in it.
        end_ms: First open time after it.
        published_ms: When it appears.
    """

    symbol: str
    interval: str
    date: str
    start_ms: int
    end_ms: int
    published_ms: int


class Archive:
    """Makes archive files when they are asked for, and remembers the last ones."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._files: OrderedDict[tuple[Wanted, int, bool], bytes] = OrderedDict()

    def file(self, path: str) -> bytes:
        """Return the file at that path.

        Raises:
            FileMissingError: If there is none, or not yet.
        """
        match = _PATH.match(path)
        if match is None:
            raise FileMissingError(path)
        fields = match.groupdict()
        wanted = _wanted(fields["period"], fields["symbol"], fields["interval"], fields["date"])
        listing = self._exchange.listings.get(wanted.symbol)
        if listing is None or self._exchange.now_ms() < wanted.published_ms:
            raise FileMissingError(path)
        key = (wanted, listing.market.version, self._exchange.switches.archive_truncated)
        content = self._files.get(key)
        if content is None:
            content = self._files[key] = self._make(wanted)
            if len(self._files) > CACHED_FILES:
                self._files.popitem(last=False)
        if not fields["checksum"]:
            return content
        if self._exchange.switches.archive_wrong_checksum:
            content = b"something else"
        name = f"{wanted.symbol}-{wanted.interval}-{wanted.date}.zip"
        return f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()

    def _make(self, wanted: Wanted) -> bytes:
        market = self._exchange.listings[wanted.symbol].market
        interval = INTERVALS["1M" if wanted.interval == _MONTH_NAME else wanted.interval]
        end_ms = wanted.end_ms
        if self._exchange.switches.archive_truncated:
            end_ms = wanted.start_ms + (end_ms - wanted.start_ms) * 2 // 3
        buffer, size = io.BytesIO(), 0
        with zipfile.ZipFile(buffer, "w") as archive:
            name = f"{wanted.symbol}-{wanted.interval}-{wanted.date}.csv"
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))  # the same bytes every time
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as csv:
                for start_ms in range(wanted.start_ms, end_ms, DAY_MS):
                    stop_ms = min(start_ms + DAY_MS, end_ms)
                    count = DAY_MS // interval.width_ms + 1
                    now_ms = self._exchange.now_ms()
                    rows = find_klines(market, interval, start_ms, stop_ms - 1, count, now_ms)
                    size += csv.write(_csv(market.symbol, rows, wanted.start_ms))
        if not size:
            raise FileMissingError(wanted.symbol)
        return buffer.getvalue()


def _csv(symbol: Symbol, rows: Int64s, file_start_ms: int) -> bytes:
    in_microseconds = file_start_ms >= MICROSECONDS_FROM_MS
    return wire.kline_csv(symbol, rows, in_microseconds=in_microseconds).encode()


def _wanted(period: str, symbol: str, interval: str, date: str) -> Wanted:
    """Return what a path asks for.

    Raises:
        FileMissingError: If there cannot be such a file.
    """
    is_monthly = period == "monthly"
    is_known = interval == _MONTH_NAME or (interval in INTERVALS and interval != "1M")
    if not is_known or (not is_monthly and interval in _MONTHLY_ONLY):
        raise FileMissingError(interval)
    try:
        start = datetime.strptime(date, "%Y-%m" if is_monthly else "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise FileMissingError(date) from error
    if not is_monthly:
        end = start + timedelta(days=1)
        published_ms = _ms(end) + DAILY_DELAY_MS
    else:
        end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
        published_ms = _ms(end + timedelta(days=-end.weekday() % 7))
    return Wanted(symbol, interval, date, _ms(start), _ms(end), published_ms)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000
