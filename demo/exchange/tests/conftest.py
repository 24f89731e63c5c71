# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from collections.abc import AsyncIterator

import aiohttp
import pytest

from simulator.testing import RunningExchange, running_exchange

BEFORE_A_MINUTE_MS = 1_780_000_019_300  # not a second before a minute closes


@pytest.fixture
async def exchange() -> AsyncIterator[RunningExchange]:
    async with running_exchange(now_ms=BEFORE_A_MINUTE_MS) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
