# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""``/candles`` of wide timeframes: from the rollup tables, beside GROUP BY over the minutes.

``python benchmarks/candles_rollups.py [--symbols 5] [--days 730]``; starts a PostgreSQL of its own
and lets it make minutes and rollups, five million rows of minutes in a few minutes. Ours is the
very query of the API, JSON included, from the rollup tables; the peer is the usual ``date_bin`` or
``date_trunc`` over the one-minute rows of the symbol, the newest 500 buckets. Milliseconds are
medians; ``most`` is the slowest of 31. ``--explain`` prints the plans.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("common", "api-server", "migrations", "tests")]

from linkora.database import open_pool  # noqa: E402
from linkora.timeframes import TIMEFRAMES  # noqa: E402
from marketdata.candles_sql import STATEMENTS  # noqa: E402
from marketdata.params import CandleRange  # noqa: E402
from marketdata.queries import SERVER_SETTINGS, Queries  # noqa: E402
from marketdata.spans import spans  # noqa: E402
from schema.runner import migrate  # noqa: E402
from testkit.postgres import private_postgres  # noqa: E402

MADE = """
INSERT INTO candles (symbol, open_time, close_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume, is_closed)
SELECT $1, t, t + interval '59.999 seconds', p, p + 3, p - 3, p + 1, v, round(v * p, 8),
       (v * 10)::bigint, round(v / 2, 8), round(v * p / 2, 8), true
FROM (SELECT t, round((50000 + 10000 * sin(extract(epoch FROM t) / 1e5))::numeric, 2) AS p,
             round((10 + 5 * sin(extract(epoch FROM t) / 777))::numeric, 5) AS v
      FROM generate_series($2::timestamptz, $3::timestamptz, interval '1 minute') AS t) AS made
"""
NAIVE = """
SELECT {bucket} AS bucket, (array_agg(open_price ORDER BY open_time))[1], max(high_price),
       min(low_price), (array_agg(close_price ORDER BY open_time DESC))[1], sum(volume),
       sum(quote_volume), sum(trades), sum(taker_buy_volume), sum(taker_buy_quote_volume)
FROM candles WHERE symbol = $1 GROUP BY 1 ORDER BY 1 DESC LIMIT 500
"""
BUCKETS = {
    "1H": "date_bin('1 hour', open_time, 'epoch')",
    "1D": "date_bin('1 day', open_time, 'epoch')",
    "1W": "date_bin('7 days', open_time, '2001-01-01Z')",
    "1M": "date_trunc('month', open_time, 'UTC')",
}


async def times_ms(ask: Callable[[], Awaitable[Any]], runs: int) -> list[float]:
    await ask()
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - began) * 1000)
    return took


async def fill(pool: Any, symbols: list[str], days: int) -> None:
    """Make the rows, two symbols at a time; without a plan cached for empty tables."""
    turns = asyncio.Semaphore(2)
    end = datetime.now(UTC).replace(second=0, microsecond=0)

    async def fill_symbol(symbol: str) -> None:
        start = end - timedelta(days=days)
        async with turns:
            while start < end:
                stop = min(start + timedelta(days=90), end)
                await pool.execute(MADE, symbol, start, stop - timedelta(minutes=1))
                await pool.execute("SELECT roll_up($1, $2, $3)", [symbol], start, stop)
                start = stop

    began = time.perf_counter()
    await asyncio.gather(*map(fill_symbol, symbols))
    await pool.execute("VACUUM ANALYZE")
    print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)


async def run(settings: Any, symbols: list[str], days: int, explain: bool) -> None:
    async with open_pool(
        settings.model_copy(update={"command_timeout_s": 3600.0}),
        name="benchmark",
        server_settings=SERVER_SETTINGS,
    ) as pool:
        await fill(pool, symbols, days)
        queries, symbol = Queries(pool), symbols[0]
        print(f"{len(symbols)} symbols x {days} days; newest 500 candles of one symbol")
        print(f"{'timeframe':10}{'ours ms':>10}{'most':>8}{'naive ms':>12}{'ratio':>9}")
        for name, frame in TIMEFRAMES.items():
            wanted = CandleRange(symbol, frame, None, None, 500, "asc")
            ours = await times_ms(lambda wanted=wanted: queries.candles_json(wanted), 31)  # type: ignore[misc]
            line = f"{name:10}{statistics.median(ours):10.2f}{max(ours):8.2f}"
            if name in BUCKETS:
                sql = NAIVE.format(bucket=BUCKETS[name])
                naive = statistics.median(
                    await times_ms(lambda sql=sql: pool.fetch(sql, symbol), 3)  # type: ignore[misc]
                )
                line += f"{naive:12.0f}{naive / statistics.median(ours):8.0f}x"
            print(line, flush=True)
            if explain:
                await tell_plan(pool, wanted)


async def tell_plan(pool: Any, wanted: CandleRange) -> None:
    """Print how PostgreSQL finds the rows: it must touch no more than are asked for."""
    sql = STATEMENTS[wanted.frame.name].json[True, False]
    low, high = next(spans(wanted, datetime.now(UTC), is_descending=True))
    plan = await pool.fetch(
        f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {sql}", wanted.symbol, low, high, wanted.limit
    )
    print("\n".join(f"    {line[0]}" for line in plan))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=5)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--explain", action="store_true")
    options = parser.parse_args()
    symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT"][: options.symbols]
    with private_postgres() as postgres:
        migrate(postgres.settings())
        asyncio.run(run(postgres.settings(), symbols, options.days, options.explain))


if __name__ == "__main__":
    main()
