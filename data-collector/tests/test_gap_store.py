# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio

import asyncpg
import pytest

from collector.candle_store import CandleStore
from collector.gaps import MinuteRange
from linkora.database import open_pool
from linkora.errors import TransientError
from linkora.timeframes import MINUTE_MS
from schema.runner import migrate
from testkit.candles import FAR_MS, START_MS, candle, kline, page
from testkit.postgres import private_postgres

Entry = tuple[str, int, int, str | None, int]


def span(first: int, end: int) -> MinuteRange:
    return MinuteRange(START_MS + first * MINUTE_MS, START_MS + end * MINUTE_MS)


def minutes(found: list[MinuteRange]) -> list[tuple[int, int]]:
    return [
        ((one.from_ms - START_MS) // MINUTE_MS, (one.to_ms - START_MS) // MINUTE_MS)
        for one in found
    ]


async def missing(store: CandleStore, first: int, end: int) -> list[tuple[int, int]]:
    wanted = span(first, end)
    return minutes(await store.missing_ranges("BTCUSDT", wanted.from_ms, wanted.to_ms))


async def note(
    store: CandleStore, *gaps: MinuteRange, reason: str | None = None, after_s: float = 0
) -> None:
    await store.note_gaps("BTCUSDT", gaps, retry_after_s=after_s, reason=reason)


async def ledger(pool: asyncpg.Pool) -> list[Entry]:
    rows = await pool.fetch(
        "SELECT state, ms_of(from_time), ms_of(to_time), reason, attempts"
        " FROM candle_gaps ORDER BY from_time, to_time"
    )
    return [
        (state, *minutes([MinuteRange(start, end)])[0], reason, attempts)
        for state, start, end, reason, attempts in rows
    ]


async def store_minutes(store: CandleStore, *opens: int) -> None:
    await store.store_pages(
        "BTCUSDT", [page([kline(minute) for minute in opens])], final_before_ms=FAR_MS
    )


async def test_everything_is_missing_where_nothing_is_stored(either_pool: asyncpg.Pool) -> None:
    assert await missing(CandleStore(either_pool), 0, 100) == [(0, 100)]
    assert await missing(CandleStore(either_pool), 100, 100) == []


async def test_holes_are_found_at_both_ends_and_between(either_pool: asyncpg.Pool) -> None:
    store = CandleStore(either_pool)
    await store_minutes(store, 2, 3, 6, 9)
    assert await missing(store, 0, 12) == [(0, 2), (4, 6), (7, 9), (10, 12)]
    assert await missing(store, 2, 4) == []
    assert await missing(store, 3, 7) == [(4, 6)]


async def test_a_minute_that_never_closed_is_missing(either_pool: asyncpg.Pool) -> None:
    store = CandleStore(either_pool)
    await store.store_states([candle(0), candle(1, is_closed=False), candle(2)])
    assert await missing(store, 0, 3) == [(1, 2)]


async def test_what_is_in_the_ledger_is_not_missing(either_pool: asyncpg.Pool) -> None:
    store = CandleStore(either_pool)
    await note(store, span(2, 4))
    await note(store, span(7, 8), reason="exchange_had_none")
    assert await missing(store, 0, 10) == [(0, 2), (4, 7), (8, 10)]


async def test_another_symbols_minutes_do_not_count(either_pool: asyncpg.Pool) -> None:
    store = CandleStore(either_pool)
    await store.store_states([candle(1, symbol="ETHUSDT")])
    await store.note_gaps("ETHUSDT", [span(0, 1)], retry_after_s=0, reason="x")
    assert await missing(store, 0, 2) == [(0, 2)]


async def test_a_gap_is_due_again_after_its_delay_and_not_before(
    either_pool: asyncpg.Pool,
) -> None:
    store = CandleStore(either_pool)
    await note(store, span(0, 2), after_s=3600)
    await note(store, span(5, 6))
    assert [
        (gap.symbol, gap.span, gap.attempts) for gap in await store.due_gaps(["BTCUSDT"], 10)
    ] == [("BTCUSDT", span(5, 6), 1)]


async def test_minutes_noted_one_by_one_in_an_outage_are_asked_for_together(
    either_pool: asyncpg.Pool,
) -> None:
    store = CandleStore(either_pool)
    for minute in (3, 0, 1, 4, 7, 2):
        await note(store, span(minute, minute + 1))
    await note(store, span(7, 8))
    await note(store, span(8, 9))
    assert [(gap.span, gap.attempts) for gap in await store.due_gaps(["BTCUSDT"], 10)] == [
        (span(0, 5), 1),
        (span(8, 9), 1),
        (span(7, 8), 2),
    ]


async def test_at_most_so_many_gaps_are_due_at_once(either_pool: asyncpg.Pool) -> None:
    store = CandleStore(either_pool)
    await note(store, *(span(minute, minute + 1) for minute in range(0, 20, 2)))
    assert len(await store.due_gaps(["BTCUSDT"], 3)) == 3


async def test_a_part_that_is_still_missing_counts_one_attempt_more(
    either_pool: asyncpg.Pool,
) -> None:
    store = CandleStore(either_pool)
    await note(store, span(0, 10))
    await note(store, span(4, 6))
    assert await ledger(either_pool) == [
        ("open", 0, 4, None, 1),
        ("open", 4, 6, None, 2),
        ("open", 6, 10, None, 1),
    ]
    await note(store, span(4, 6), reason="exchange_had_none")
    assert (await ledger(either_pool))[1] == ("explained", 4, 6, "exchange_had_none", 3)


async def test_minutes_that_come_are_taken_out_of_the_ledger(either_pool: asyncpg.Pool) -> None:
    store = CandleStore(either_pool)
    await note(store, span(0, 10))
    await store.store_states([candle(0), candle(5, is_closed=False)])
    await store_minutes(store, 7, 8)
    assert await ledger(either_pool) == [
        ("repaired", 0, 1, None, 1),
        ("open", 1, 7, None, 1),
        ("repaired", 7, 9, None, 1),
        ("open", 9, 10, None, 1),
    ]


async def test_a_minute_that_was_explained_and_comes_all_the_same_is_repaired(
    either_pool: asyncpg.Pool,
) -> None:
    store = CandleStore(either_pool)
    await note(store, span(0, 2), reason="exchange_had_none")
    await store_minutes(store, 1)
    assert await ledger(either_pool) == [
        ("explained", 0, 1, "exchange_had_none", 1),
        ("repaired", 1, 2, "exchange_had_none", 1),
    ]


async def test_stored_minutes_cannot_be_noted_as_missing(either_pool: asyncpg.Pool) -> None:
    store = CandleStore(either_pool)
    await store_minutes(store, 1, 2)
    await note(store, span(0, 4))
    assert [entry[:3] for entry in await ledger(either_pool)] == [("open", 0, 1), ("open", 3, 4)]


async def test_explained_minutes_are_not_opened_again(either_pool: asyncpg.Pool) -> None:
    store = CandleStore(either_pool)
    await note(store, span(0, 3), reason="not_listed")
    await note(store, span(2, 5))
    assert await ledger(either_pool) == [
        ("explained", 0, 3, "not_listed", 1),
        ("open", 3, 5, None, 1),
    ]


async def test_the_same_gap_noted_by_two_at_once_is_one_entry(pool: asyncpg.Pool) -> None:
    store = CandleStore(pool)
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(note(store, span(0, 3)))
    assert await ledger(pool) == [("open", 0, 3, None, 8)]


async def test_minutes_and_gaps_written_at_once_never_contradict_each_other(
    pool: asyncpg.Pool,
) -> None:
    store = CandleStore(pool)
    async with asyncio.TaskGroup() as group:
        for minute in range(40):
            group.create_task(note(store, span(minute, minute + 3)))
            group.create_task(store.store_states([candle(minute)]))
    still_open = [entry[1:3] for entry in await ledger(pool) if entry[0] == "open"]
    assert still_open in ([(40, 42)], [(40, 41), (41, 42)])  # who came first decides
    assert await missing(store, 0, 42) == []


async def test_a_ban_is_kept_and_only_the_longest_counts(either_pool: asyncpg.Pool) -> None:
    store = CandleStore(either_pool)
    assert await store.load_ban() == 0
    await store.save_ban(FAR_MS)
    await store.save_ban(FAR_MS - 5)
    assert await CandleStore(either_pool).load_ban() == FAR_MS


async def test_every_method_says_that_the_database_is_away() -> None:
    with private_postgres() as server:
        migrate(server.settings())
        async with open_pool(server.settings(), name="tests") as pool:
            store = CandleStore(pool)
            await store.load_ban()
            server.stop()
            for call in (
                store.load_ban,
                lambda: store.save_ban(1),
                lambda: store.due_gaps(["BTCUSDT"], 1),
                lambda: store.missing_ranges("BTCUSDT", 0, MINUTE_MS),
                lambda: note(store, span(0, 1)),
            ):
                with pytest.raises(TransientError):
                    await call()
