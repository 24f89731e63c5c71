# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What a file of the exchange's public archive says, as klines pages. Pure.

One CSV in a ZIP, without a header for spot, the columns of a klines row. Times are milliseconds in
older files and microseconds in newer ones; which, shows in each number (facts: from 2025-01-01).
"""

import hashlib
import io
import re
import zipfile

from linkora.errors import CorruptMessage
from linkora.timeframes import DAY_MS, MINUTE_MS

_MICROSECONDS_FROM = 10**14
_MINUTES_A_DAY = DAY_MS // MINUTE_MS
_N = r"[0-9]{1,40}(?:\.[0-9]{1,40})?"
_LINE = re.compile(
    rf"([0-9]{{13,16}}),({_N}),({_N}),({_N}),({_N}),({_N}),([0-9]{{13,16}}),({_N}),([0-9]+),"
    rf"({_N}),({_N}),[^,\n]*"
)
MAX_CSV_BYTES = 64 * 1024 * 1024


def check(content: bytes, checksum: bytes) -> None:
    """Compare a file with the content of its ``.CHECKSUM`` (``<sha256>  <name>``).

    Raises:
        CorruptMessage: If they do not belong together.
    """
    told = checksum.split()
    if not told or told[0].decode("ascii", "replace") != hashlib.sha256(content).hexdigest():
        raise CorruptMessage("the archive file does not match its checksum")


def complete_days(content: bytes) -> dict[int, bytes]:
    """Return the days of a file that have all of their minutes, each as a klines page.

    Days with fewer rows are left out: the exchange was down, or the file is cut short; only its
    REST API can tell which.

    Returns:
        Open time of the day, Unix ms, to a JSON array of klines rows.

    Raises:
        CorruptMessage: If the file is not what the archive promises.
    """
    days: dict[int, list[str]] = {}
    for line in _lines(content):
        found = _LINE.fullmatch(line)
        if found is None:
            raise CorruptMessage(f"not a line of klines: {line[:100]!r}")
        opens, *prices, closes, quote, trades, bought, bought_quote = found.groups()
        open_ms, close_ms = _ms(opens), _ms(closes)
        rows = days.setdefault(open_ms // DAY_MS * DAY_MS, [])
        on_grid = open_ms % DAY_MS == len(rows) * MINUTE_MS
        if on_grid and close_ms == open_ms + MINUTE_MS - 1:
            values = '","'.join(prices)
            rows.append(
                f'[{open_ms},"{values}",{close_ms},"{quote}",{trades},"{bought}","{bought_quote}"]'
            )
    return {
        day_ms: f"[{','.join(rows)}]".encode()
        for day_ms, rows in days.items()
        if len(rows) == _MINUTES_A_DAY
    }


def _lines(content: bytes) -> list[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (member,) = archive.infolist()
            if member.file_size > MAX_CSV_BYTES:
                raise CorruptMessage(f"an archive file of {member.file_size} bytes")
            return archive.read(member).decode("ascii").splitlines()
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise CorruptMessage(f"not a file of the archive: {error}") from error


def _ms(text: str) -> int:
    time = int(text)
    return time // 1000 if time >= _MICROSECONDS_FROM else time
