# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Requests per second of ``/candles?limit=500`` beside a bare Starlette route of the same bytes.

``python benchmarks/http_candles.py``; starts a PostgreSQL and a Redis of its own. Both servers run
as processes under the same uvicorn and uvloop; one load generator asks both in turn, in many short
rounds. Each round's ratio is of two measurements side by side, so that a neighbour's load weighs on
both; their median and their range are printed, for requests per CPU second of the server (what a
shared machine disturbs least) and per second of the clock.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("common", "api-server", "migrations", "tests")]

import uvloop  # noqa: E402

from linkora.database import open_pool  # noqa: E402
from schema.runner import migrate  # noqa: E402
from testkit.market import Collector  # noqa: E402
from testkit.postgres import private_postgres  # noqa: E402
from testkit.redis_server import private_redis  # noqa: E402

PATH = "/candles?symbol=BTCUSDT&timeframe=1&limit=500"
BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
body = open(sys.argv[2], "rb").read()
async def candles(request):
    return Response(body, media_type="application/json")
uvicorn.run(Starlette(routes=[Route("/candles", candles)]), port=int(sys.argv[1]),
            log_level="error", loop="uvloop", http="httptools", access_log=False, lifespan="off")
"""


async def ask(port: int, until_s: float) -> int:
    """Return how many answers one connection got."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    count = 0
    while time.monotonic() < until_s:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 200")
        count += 1
    writer.close()
    return count


async def load(port: int, connections: int, seconds: float) -> float:
    until_s = time.monotonic() + seconds
    return sum(await asyncio.gather(*(ask(port, until_s) for _ in range(connections)))) / seconds


async def body(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


def measure(process: psutil.Process, port: int, options: argparse.Namespace) -> tuple[float, float]:
    """Return requests per CPU second of the server and per second of the clock."""
    before = process.cpu_times()
    rate = uvloop.run(load(port, options.connections, options.seconds))
    after = process.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    return rate * options.seconds / used_s, rate


async def wait_for(port: int) -> None:
    for _ in range(300):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise SystemExit("the server did not start")


async def fill(settings: object) -> None:
    async with open_pool(settings, name="benchmark") as pool:  # type: ignore[arg-type]
        await Collector(pool, None).fill(["BTCUSDT"], minutes=1500)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--port", type=int, default=18_022)
    options = parser.parse_args()
    with private_postgres() as postgres, private_redis() as redis:
        database = postgres.settings()
        migrate(database)
        asyncio.run(fill(database))
        environment = {
            "DB_HOST": database.host,
            "DB_PORT": str(database.port),
            "DB_NAME": database.name,
            "DB_USER": database.user,
            "DB_PASSWORD": database.password.get_secret_value(),
            "REDIS_PORT": str(redis.port),
            "API_PORT": str(options.port),
            "RATE_LIMIT": "1000000",
            "LOG_LEVEL": "ERROR",
            "PYTHONPATH": str(ROOT / "common"),  # this tree's, not the one that is installed
        }
        main_py = str(ROOT / "api-server" / "main.py")
        with subprocess.Popen([sys.executable, main_py], env=environment) as ours:
            asyncio.run(wait_for(options.port))
            time.sleep(3)
            folder = Path(tempfile.mkdtemp()) / "candles.json"
            answer = asyncio.run(body(options.port))
            folder.write_bytes(answer)
            command = [sys.executable, "-c", BARE, str(options.port + 1), str(folder)]
            with subprocess.Popen(command) as bare:
                asyncio.run(wait_for(options.port + 1))
                report(options, ours, bare, len(answer))
                bare.terminate()
            folder.unlink()
            ours.terminate()


def report(
    options: argparse.Namespace,
    ours: "subprocess.Popen[bytes]",
    bare: "subprocess.Popen[bytes]",
    length: int,
) -> None:
    results: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
    for _ in range(options.rounds):
        for name, process, port in (
            ("ours", ours, options.port),
            ("bare", bare, options.port + 1),
        ):
            results[name].append(measure(psutil.Process(process.pid), port, options))
    print(
        f"/candles?limit=500, {length} bytes, {options.connections} connections,"
        f" {options.rounds} rounds of {options.seconds:g} s each"
    )
    for column, title in enumerate(("requests per CPU second", "requests per second")):
        ours_is, bare_is = (
            statistics.median(row[column] for row in results[name]) for name in ("ours", "bare")
        )
        pairs = zip(results["ours"], results["bare"], strict=True)
        ratios = sorted(one[column] / other[column] for one, other in pairs)
        print(
            f"{title:24} ours {ours_is:8,.0f}   bare route {bare_is:8,.0f}   ratio"
            f" {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
