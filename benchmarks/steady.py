# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the collector and its database cost while they just keep up, at 5, 50 and 500 symbols.

    .venv/bin/python benchmarks/steady.py [--symbols 5,50,500] [--seconds 70]

The simulated exchange runs beside them and counts for nothing here. Prints CPU (percent of one
core, over the measured time, at least one close of all symbols in it), memory, and how late the
closes were stored after the minute's end.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
for room in ("tests", "migrations", "benchmarks"):
    sys.path.insert(0, str(ROOT / room))

from backfill import cpu_s  # noqa: E402

from schema.runner import migrate  # noqa: E402
from testkit.postgres import private_postgres  # noqa: E402
from testkit.processes import free_port  # noqa: E402
from testkit.redis_server import private_redis  # noqa: E402

LATENESS = """
SELECT count(*), max(extract(epoch FROM updated_at - close_time)) FROM candles
WHERE is_closed AND close_time > now() - $1 * interval '1 second'
"""


def memory_mb(process: psutil.Process) -> float:
    """Return the memory of a process and its children, shared pages counted once."""
    processes = [process, *process.children(recursive=True)]
    return sum(p.memory_full_info().pss for p in processes) / 2**20


async def closes(port: int, seconds: float) -> tuple[int, float]:
    connection = await asyncpg.connect(
        host="127.0.0.1", port=port, user="postgres", database="postgres"
    )
    count, latest = await connection.fetchrow(LATENESS, seconds)
    await connection.close()
    return count, float(latest or 0)


def measure(symbols: int, seconds: int) -> list[str]:
    """Run collector, database and exchange for that many symbols; return a row of the table."""
    exchange_port = free_port()
    quiet = {"LOG_LEVEL": "WARNING"}
    exchange_env = {
        "EXCHANGE_PORT": str(exchange_port), "EXCHANGE_SYMBOLS": "BTCUSDT",
        "EXCHANGE_EXTRA_SYMBOLS": str(symbols - 1),
    }  # fmt: skip
    exchange = subprocess.Popen(
        [sys.executable, "main.py"], cwd=ROOT / "demo/exchange",
        env=os.environ | quiet | exchange_env,
    )  # fmt: skip
    time.sleep(3)
    with private_postgres() as postgres, private_redis() as redis, tempfile.TemporaryFile() as log:
        settings = postgres.settings()
        migrate(settings)
        collector_env = {
            "PATH": os.environ["PATH"], "DB_HOST": "127.0.0.1", "DB_PORT": str(settings.port),
            "DB_NAME": settings.name, "DB_USER": settings.user, "REDIS_PORT": str(redis.port),
            "BINANCE_BASE_URL": f"http://127.0.0.1:{exchange_port}",
            "BINANCE_WS_URL": f"ws://127.0.0.1:{exchange_port}", "SYMBOLS": "ALL:USDT",
            "START_DATE": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(time.time() - 600)),
            "COLLECTOR_PORT": str(free_port()), "CANDLE_WRITE_INTERVAL": "5",
            "ORDERBOOK_UPDATE_INTERVAL": "5" if symbols > 100 else "1", **quiet,
        }  # fmt: skip
        collector = subprocess.Popen(
            [sys.executable, "main.py"], cwd=ROOT / "data-collector", env=collector_env,
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            time.sleep(20)
            watched = {
                "collector": psutil.Process(collector.pid),
                "database": psutil.Process(postgres._process._process.pid),
            }
            before = {name: cpu_s(process) for name, process in watched.items()}
            time.sleep(seconds)
            used = {n: (cpu_s(p) - before[n]) / seconds * 100 for n, p in watched.items()}
            memory = {n: memory_mb(p) for n, p in watched.items()}
            count, latest = asyncio.run(closes(settings.port, seconds))
        finally:
            collector.terminate()
            collector.wait(20)
            exchange.terminate()
            exchange.wait(10)
    return [
        str(symbols), f"{used['collector']:.1f} %", f"{memory['collector']:.0f} MB",
        f"{used['database']:.1f} %", f"{memory['database']:.0f} MB", str(count), f"{latest:.1f} s",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--symbols", default="5,50,500", help="how many, comma-separated")
    parser.add_argument("--seconds", type=int, default=70, help="how long to measure each")
    arguments = parser.parse_args()
    table = Table(title=f"Keeping up for {arguments.seconds} s, CANDLE_WRITE_INTERVAL=5")
    for heading in (
        "symbols", "collector CPU", "memory", "database CPU", "memory", "closes", "latest",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for symbols in arguments.symbols.split(","):
        table.add_row(*measure(int(symbols), arguments.seconds))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
