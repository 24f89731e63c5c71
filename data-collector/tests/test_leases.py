# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from collector.clock import ExchangeClock
from collector.lease_store import open_lease_session
from collector.leases import Leases
from collector.metrics import CollectorMetrics
from collector.settings import Settings
from collector.surroundings import Surroundings
from linkora.health import Health
from linkora.metrics import new_registry
from linkora.settings import DatabaseSettings
from testkit.postgres import private_postgres
from testkit.services import until

SYMBOLS = ("A", "B", "C", "D", "E")


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr("collector.leases.RENEW_INTERVAL_S", 0.1)


@asynccontextmanager
async def collector(database: DatabaseSettings) -> AsyncIterator[Leases]:
    around = Surroundings(ExchangeClock(), Settings(), Health(), CollectorMetrics(new_registry()))
    leases = Leases(SYMBOLS, lambda: open_lease_session(database), around)
    keeping = asyncio.create_task(leases.keep())
    try:
        yield leases
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


async def test_one_collector_has_every_symbol(database):
    async with collector(database) as only:
        await until(lambda: only.held == SYMBOLS)


async def test_several_collectors_share_and_no_symbol_has_two(database):
    async with collector(database) as first:
        await until(lambda: first.held == SYMBOLS)
        async with collector(database) as second, collector(database) as third:
            everyone = (first, second, third)
            await until(
                lambda: (
                    all(len(c.held) in (1, 2) for c in everyone)
                    and sorted(symbol for c in everyone for symbol in c.held) == list(SYMBOLS)
                )
            )
        await until(lambda: first.held == SYMBOLS)


async def test_a_break_of_the_database_changes_no_hands():
    with private_postgres() as server:
        database = server.settings()
        async with collector(database) as first, collector(database) as second:
            await until(lambda: {len(first.held), len(second.held)} == {2, 3})
            before = (first.held, second.held)
            first.changed.clear()
            second.changed.clear()
            server.kill()
            server.start()
            await asyncio.sleep(1.5)
            assert (first.held, second.held) == before
            assert not first.changed.is_set()
            assert not second.changed.is_set()
