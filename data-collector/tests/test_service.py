# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import contextlib

import pytest

from collector import service
from linkora.errors import TransientError
from testkit.services import until


class Rest:
    async def server_time(self) -> int:
        return 0


async def test_an_exchange_that_failed_once_is_soon_asked_whether_it_is_back(
    make_around, monkeypatch: pytest.MonkeyPatch
):
    """With the streams well nobody else may ask for a minute, and health would stay bad."""
    monkeypatch.setattr(service, "LOST_INTERVAL_S", 0.01)
    around = make_around()
    around.lost("exchange", TransientError("exchange: TimeoutError"))
    keeping = asyncio.create_task(service._keep_time(Rest(), around))
    try:
        await until(lambda: around.health.is_up("exchange"), 10)
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
