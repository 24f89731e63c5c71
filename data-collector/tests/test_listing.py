# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import contextlib

import pytest

from collector import listing
from collector.binance.forms import ExchangeInfo, SymbolInfo
from collector.listing import Listing
from testkit.services import until


def info(status: str) -> ExchangeInfo:
    return ExchangeInfo(0, [], [SymbolInfo("AUSDT", status, "USDT")])


async def test_a_symbol_that_was_halted_for_a_moment_is_soon_collected_again(
    make_around, monkeypatch: pytest.MonkeyPatch
):
    around = make_around(symbols=("AUSDT",))
    waits: list[float] = []
    answers = [info("TRADING")] * 7 + [info("BREAK"), info("TRADING")]
    wanted: list[tuple[str, ...]] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def ask() -> ExchangeInfo:
        if not answers:
            await asyncio.Event().wait()
        return answers.pop(0)

    monkeypatch.setattr(listing, "asyncio", type("Time", (), {"sleep": staticmethod(sleep)}))
    made = Listing(around)
    made.take(info("TRADING"))
    following = asyncio.create_task(made.follow(ask, wanted.append))
    await until(lambda: len(wanted) == 9)
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    assert wanted == [("AUSDT",)] * 7 + [(), ("AUSDT",)]
    assert waits[:7] == [60, 120, 240, 480, 960, 1800, 1800]
    assert waits[8:10] == [60, 60]
