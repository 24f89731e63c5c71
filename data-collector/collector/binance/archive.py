# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The exchange's public archive of klines: whole months and days, beside the request budget."""

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus

import aiohttp
import structlog

from collector.binance.archive_file import check, complete_days
from linkora.errors import CorruptMessage, TransientError

log = structlog.get_logger(__name__)

MAX_FILE_BYTES = 32 * 1024 * 1024


class Archive:
    """Reads archive files; one that is missing, damaged or cut short just yields fewer days.

    Args:
        url: Such as ``https://data.binance.vision``.
        session: The HTTP session; its timeout bounds every request.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def month(self, symbol: str, day_ms: int) -> dict[int, bytes]:
        """Return the complete days of the month that holds ``day_ms``, each as a klines page.

        Raises:
            TransientError: If the archive is away.
        """
        return await self._days(f"monthly/klines/{symbol}/1m/{symbol}-1m-{_date(day_ms)[:7]}.zip")

    async def day(self, symbol: str, day_ms: int) -> dict[int, bytes]:
        """Return one day, if the archive has all of it, as a klines page.

        Raises:
            TransientError: If the archive is away.
        """
        return await self._days(f"daily/klines/{symbol}/1m/{symbol}-1m-{_date(day_ms)}.zip")

    async def _days(self, path: str) -> dict[int, bytes]:
        content = await self._get(path)
        checksum = await self._get(f"{path}.CHECKSUM") if content is not None else None
        if content is None or checksum is None:
            return {}
        try:
            check(content, checksum)
            return await asyncio.to_thread(complete_days, content)
        except CorruptMessage as error:
            log.warning("archive_file_refused", path=path, reason=str(error))
            return {}

    async def _get(self, path: str) -> bytes | None:
        try:
            async with self._session.get(f"{self._url}/data/spot/{path}") as answer:
                if answer.status == HTTPStatus.NOT_FOUND:
                    return None
                if answer.status != HTTPStatus.OK:
                    raise TransientError(f"archive: status {answer.status}")
                if (answer.content_length or 0) > MAX_FILE_BYTES:
                    raise TransientError(f"archive: a file of {answer.content_length} bytes")
                return await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"archive: {type(error).__name__}: {error}") from error


def _date(day_ms: int) -> str:
    return datetime.fromtimestamp(day_ms / 1000, UTC).date().isoformat()
