# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""History into the database: the whole collector beside two peers, in one run.

    .venv/bin/python benchmarks/backfill.py [--days 30] [--rounds 2]

Each takes the same minutes from the simulated exchange into a PostgreSQL of its own: the collector
(with the twelve rollup tables and the ledger), the naive way (parse, Decimal, ``executemany`` of an
upsert a page) and plain COPY of the same rows by ``copy_records_to_table``; the peers write the
one-minute table alone. What counts is CPU: seconds per million candles, of the program and of the
database apart. The last line of the table is what the rollups cost the database.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
for room in ("tests", "migrations", "demo/exchange"):
    sys.path.insert(0, str(ROOT / room))

from schema.runner import migrate  # noqa: E402
from testkit.postgres import private_postgres  # noqa: E402
from testkit.processes import free_port  # noqa: E402
from testkit.redis_server import private_redis  # noqa: E402

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
MINUTE_MS = 60_000
PAGE = 1000
COLUMNS = (
    "symbol", "open_time", "open_price", "high_price", "low_price", "close_price", "volume",
    "close_time", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume",
    "is_closed",
)  # fmt: skip
UPSERT = f"""
INSERT INTO candles ({", ".join(COLUMNS)})
VALUES ({", ".join(f"${place}" for place in range(1, len(COLUMNS) + 1))})
ON CONFLICT (symbol, open_time) DO UPDATE SET close_price = excluded.close_price,
    high_price = excluded.high_price, low_price = excluded.low_price, volume = excluded.volume,
    quote_volume = excluded.quote_volume, trades = excluded.trades,
    taker_buy_volume = excluded.taker_buy_volume,
    taker_buy_quote_volume = excluded.taker_buy_quote_volume
"""


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and of all its children, living and gone."""
    times = process.cpu_times()
    own = times.user + times.system + times.children_user + times.children_system
    return own + sum(
        t.user + t.system for t in (child.cpu_times() for child in process.children(recursive=True))
    )


async def peer(way: str, port: int, exchange: str, start_ms: int, end_ms: int) -> None:
    """Take the minutes in one of the peers' ways."""
    connection = await asyncpg.connect(
        host="127.0.0.1", port=port, user="postgres", database="postgres"
    )
    async with aiohttp.ClientSession() as session:
        for symbol in SYMBOLS:
            for page_ms in range(start_ms, end_ms, PAGE * MINUTE_MS):
                url = (
                    f"{exchange}/api/v3/klines?symbol={symbol}&interval=1m&limit={PAGE}"
                    f"&startTime={page_ms}&endTime={min(page_ms + PAGE * MINUTE_MS, end_ms) - 1}"
                )
                async with session.get(url) as answer:
                    rows = [record(symbol, row) for row in json.loads(await answer.read())]
                if way == "naive":
                    await connection.executemany(UPSERT, rows)
                else:
                    await connection.copy_records_to_table("candles", records=rows, columns=COLUMNS)
    await connection.close()


def record(symbol: str, row: list[Any]) -> tuple[Any, ...]:
    opens, *prices, closes, quote, trades, bought, bought_quote, _ = row
    return (
        symbol,
        datetime.fromtimestamp(opens / 1000, UTC),
        *map(Decimal, prices),
        datetime.fromtimestamp(closes / 1000, UTC),
        Decimal(quote),
        trades,
        Decimal(bought),
        Decimal(bought_quote),
        True,
    )


def run_program(command: list[str], env: dict[str, str], cwd: Path, until: str | None) -> float:
    """Run a program until it ends, or until its log has ``until``; return its CPU seconds."""
    with tempfile.NamedTemporaryFile("w+") as log:
        program = subprocess.Popen(command, env=env, cwd=cwd, stdout=log, stderr=log)
        watched = psutil.Process(program.pid)
        used = 0.0
        while program.poll() is None:
            with_children = cpu_s(watched)
            used = max(used, with_children)
            log.seek(0)
            if until and until in log.read():
                used = cpu_s(watched)
                program.terminate()
                program.wait(20)
                return used
            time.sleep(0.05)
        log.seek(0)
        assert until is None, log.read()[-2000:]
        assert program.returncode == 0, log.read()[-2000:]
        return used


def measure(way: str, exchange: str, ws: str, start_ms: int, end_ms: int) -> dict[str, float]:
    """Run one way on a database of its own; return CPU seconds and the rows stored."""
    with private_postgres() as postgres, private_redis() as redis:
        settings = postgres.settings()
        migrate(settings)
        server = psutil.Process(postgres._process._process.pid)
        env = {
            "PATH": os.environ["PATH"], "DB_HOST": "127.0.0.1", "DB_PORT": str(settings.port),
            "DB_NAME": settings.name, "DB_USER": settings.user, "REDIS_PORT": str(redis.port),
            "BINANCE_BASE_URL": exchange, "BINANCE_WS_URL": ws, "SYMBOLS": ",".join(SYMBOLS),
            "START_DATE": datetime.fromtimestamp(start_ms / 1000, UTC).isoformat(),
            "REQUEST_WEIGHT_SHARE": "1", "COLLECTOR_PORT": str(free_port()),
        }  # fmt: skip
        before = cpu_s(server)
        if way == "linkora":
            folder = ROOT / "data-collector"
            program = run_program(
                [sys.executable, "main.py"], env, folder, until="history_complete"
            )
        else:
            arguments = [way, str(settings.port), exchange, str(start_ms), str(end_ms)]
            command = [sys.executable, __file__, "--peer", *arguments]
            program = run_program(command, env, ROOT, until=None)
        used = {"program": program, "database": cpu_s(server) - before, "rollups": 0.0}
        rows, rollups = asyncio.run(count_and_roll_up(settings.port, server, way, end_ms))
        return used | {"rows": rows, "rollups": rollups}


async def count_and_roll_up(
    port: int, server: psutil.Process, way: str, end_ms: int
) -> tuple[int, float]:
    """Return the rows stored and the database's CPU seconds for rolling all of them up again."""
    connection = await asyncpg.connect(
        host="127.0.0.1", port=port, user="postgres", database="postgres"
    )
    rows: int = await connection.fetchval(
        "SELECT count(*) FROM candles WHERE open_time < to_timestamp($1)", end_ms / 1000
    )
    used = 0.0
    if way == "linkora":
        before = cpu_s(server)
        for symbol in SYMBOLS:
            await connection.execute(
                "SELECT roll_up(ARRAY[$1::text], part, part + interval '8000 minutes') FROM"
                " candles_1mo, generate_series(open_time, close_time, interval '8000 minutes')"
                " AS part WHERE symbol = $1",
                symbol,
            )
        used = cpu_s(server) - before
    await connection.close()
    return rows, used


def report(results: dict[str, list[dict[str, float]]], rows: float) -> None:
    console = Console(width=100)
    table = Table(title=f"CPU seconds per million candles ({rows:,.0f} candles a run, medians)")
    for heading in ("way", "program", "database", "together", "of linkora's"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    per_million = {
        way: {
            part: statistics.median(run[part] / run["rows"] for run in runs) * 1e6
            for part in ("program", "database", "rollups")
        }
        for way, runs in results.items()
    }
    ours = sum(per_million["linkora"][part] for part in ("program", "database"))
    for way, used in per_million.items():
        together = used["program"] + used["database"]
        table.add_row(
            way, f"{used['program']:.1f}", f"{used['database']:.1f}", f"{together:.1f}",
            f"{together / ours:.2f}x",
        )  # fmt: skip
    rollups = per_million["linkora"]["rollups"]
    table.add_row("  of it the twelve rollups", "", f"{rollups:.1f}", f"{rollups:.1f}", "")
    without = ours - rollups
    console.print(table)
    for way in ("naive", "copy"):
        together = per_million[way]["program"] + per_million[way]["database"]
        console.print(
            f"{way} / linkora: {together / ours:.2f} with the rollups,"
            f" {together / without:.2f} for the same table alone"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--days", type=int, default=30, help="days of history of each symbol")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each way, interleaved")
    parser.add_argument("--peer", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        way, port, exchange, start, end = arguments.peer
        asyncio.run(peer(way, int(port), exchange, int(start), int(end)))
        return
    port = free_port()
    env = os.environ | {
        "EXCHANGE_PORT": str(port), "EXCHANGE_SYMBOLS": ",".join(SYMBOLS),
        "EXCHANGE_WEIGHT_LIMIT": "100000000", "LOG_LEVEL": "ERROR",
    }  # fmt: skip
    exchange = subprocess.Popen([sys.executable, "main.py"], env=env, cwd=ROOT / "demo/exchange")
    try:
        time.sleep(3)
        end_ms = (int(time.time() * 1000) // MINUTE_MS - 10) * MINUTE_MS
        start_ms = end_ms - arguments.days * 1440 * MINUTE_MS
        results: dict[str, list[dict[str, float]]] = {"linkora": [], "naive": [], "copy": []}
        for _ in range(arguments.rounds):
            for way, runs in results.items():
                runs.append(
                    measure(
                        way, f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}", start_ms, end_ms
                    )
                )
        report(results, results["linkora"][0]["rows"])
    finally:
        exchange.terminate()
        exchange.wait(10)


if __name__ == "__main__":
    main()
