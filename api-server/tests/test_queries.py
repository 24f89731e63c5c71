# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Every query on plain PostgreSQL and on TimescaleDB: the same answers."""

from decimal import Decimal
from typing import Any

import pytest

from linkora.database import open_pool
from linkora.decimals import plain
from linkora.settings import DatabaseSettings
from linkora.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, TIMEFRAMES
from marketdata.binance_intervals import INTERVALS, in_zone
from marketdata.params import CandleRange, GapRange
from marketdata.queries import SERVER_SETTINGS, Queries
from marketdata.wire import candle_row
from testkit.market import Collector, book, minute, moment, running

SYMBOL = "BTCUSDT"
START_MS = 1_706_659_200_000  # 2024-01-31: two days over a change of month
COUNT = 2 * 24 * 60


async def answers(database: DatabaseSettings) -> list[Any]:
    """Fill the database and return what every query gives."""
    async with open_pool(database, name="tests", server_settings=SERVER_SETTINGS) as pool:
        collector, queries = Collector(pool, None), Queries(pool)  # type: ignore[arg-type]
        candles = [minute(SYMBOL, START_MS + i * MINUTE_MS) for i in range(COUNT) if i % 97]
        candles[-1] = running(candles[-1])
        candles[-2] = minute(SYMBOL, candles[-2].open_time_ms, volume=Decimal("1E+14"))
        await collector.store(candles)
        await collector.store_book(book(SYMBOL, START_MS))
        await pool.execute(
            "INSERT INTO candle_gaps (symbol, from_time, to_time) VALUES ($1, $2, $3)",
            SYMBOL,
            moment(START_MS),
            moment(START_MS + MINUTE_MS),
        )
        got: list[Any] = [
            await queries.symbols(),
            await queries.newest_minutes(),
            await queries.precision(SYMBOL),
            await queries.newest_book(SYMBOL),
        ]
        for frame in TIMEFRAMES.values():
            for span in ((None, None), (START_MS + HOUR_MS, START_MS + DAY_MS), (None, START_MS)):
                for order in ("asc", "desc"):
                    wanted = CandleRange(SYMBOL, frame, *span, 50, order)  # type: ignore[arg-type]
                    got.append(await queries.candles_json(wanted))
                    got.append((await queries.candles_csv(wanted)).text)
                    got.append(await queries.candles_between(wanted))
            rows = await queries.candle_rows(SYMBOL, frame, 20)
            newest = await queries.newest_candles(SYMBOL, frame, 20)
            assert [row for _, row in rows] == [candle_row(candle) for candle in newest]
            got += [rows, newest]
        for frame in INTERVALS.values():
            zoned = in_zone(frame, 8 * HOUR_MS)
            assert zoned is not None
            for each in (frame, zoned):
                for start_ms in (None, START_MS + HOUR_MS):
                    wanted = CandleRange(SYMBOL, each, start_ms, None, 7, "asc")
                    got.append(await queries.klines_json(wanted))
        got.append(await queries.newest_days([SYMBOL]))
        gaps = await queries.gaps(GapRange(None, 0, START_MS + 1, None, 10))
        got.append([(gap["symbol"], gap["from_ms"], gap["to_ms"], gap["state"]) for gap in gaps])
        return got


async def test_plain_postgresql_and_timescaledb_answer_the_same(
    database: DatabaseSettings, timescale_database: DatabaseSettings
) -> None:
    assert await answers(database) == await answers(timescale_database)


@pytest.mark.parametrize("text", ["0.00000001", "123456789012345.12345678", "1.000000000001", "7"])
async def test_numbers_come_out_as_they_went_in(collector: Collector, pool: Any, text: str) -> None:
    import msgspec

    candle = msgspec.structs.replace(minute(SYMBOL, START_MS), volume=Decimal(text))
    await collector.store([candle])
    ((_, row),) = await Queries(pool).candle_rows(SYMBOL, TIMEFRAMES["1D"], 5)
    assert msgspec.json.decode(row)["volume"] == plain(Decimal(text))
