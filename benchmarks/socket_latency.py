# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Time from a Redis publish to the client's read, with 1,000 clients of one topic.

``python benchmarks/socket_latency.py``; starts a PostgreSQL and a Redis of its own and the API
server as a process. The publisher and the clients are one process with one clock: closing candles
carry the time of their publishing in their trade count. Median and 99th percentile over all reads.
"""

import argparse
import asyncio
import os
import re
import selectors
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("common", "api-server", "migrations", "tests")]

import redis  # noqa: E402

from linkora import channels  # noqa: E402
from linkora.database import open_pool  # noqa: E402
from linkora.messages import Position, encode_candle  # noqa: E402
from linkora.timeframes import MINUTE_MS, floor_minute_ms  # noqa: E402
from schema.runner import migrate  # noqa: E402
from testkit.market import Collector, minute  # noqa: E402
from testkit.postgres import private_postgres  # noqa: E402
from testkit.redis_server import private_redis  # noqa: E402

HANDSHAKE = (
    b"GET /ws?symbol=BTCUSDT&timeframe=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
STAMP = re.compile(rb'"trades":(\d{12,})')


async def fill(settings: object) -> None:
    async with open_pool(settings, name="benchmark") as pool:  # type: ignore[arg-type]
        await Collector(pool, None).fill(["BTCUSDT"], minutes=30)  # type: ignore[arg-type]


def connect(port: int, count: int) -> selectors.BaseSelector:
    selector = selectors.DefaultSelector()
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(HANDSHAKE)
        selector.register(client, selectors.EVENT_READ)
    return selector


def publish(port: int, messages: int, rate: float, began_ns: int) -> None:
    """Publish closing candles at a steady pace, each of the next minute."""
    client = redis.Redis(port=port)
    open_ms = floor_minute_ms(time.time_ns() // 1_000_000)
    for number in range(messages):
        candle = minute("BTCUSDT", open_ms + number * MINUTE_MS)
        stamped = encode_candle(candle, Position(number + 1, began_ns))
        # The time goes in as late as can be: the trade count is free to carry it.
        now = str(time.perf_counter_ns()).encode()
        client.publish(
            channels.CANDLES_ALL, re.sub(rb'"trades":\d+', b'"trades":%b' % now, stamped)
        )
        time.sleep(1 / rate)


def read(selector: selectors.BaseSelector, expected: int) -> list[float]:
    """Return the milliseconds that each message took to each client."""
    took: list[float] = []
    quiet_until = time.monotonic() + 20
    while len(took) < expected and time.monotonic() < quiet_until:
        for key, _ in selector.select(0.5):
            data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
            now_ns = time.perf_counter_ns()
            for stamp in STAMP.findall(data):
                took.append((now_ns - int(stamp)) / 1e6)
                quiet_until = time.monotonic() + 5
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--rate", type=float, default=5.0, help="messages a second")
    parser.add_argument("--port", type=int, default=18_122)
    options = parser.parse_args()
    with private_postgres() as postgres, private_redis() as server:
        database = postgres.settings()
        migrate(database)
        asyncio.run(fill(database))
        environment = {
            **os.environ,
            "DB_HOST": database.host,
            "DB_PORT": str(database.port),
            "DB_NAME": database.name,
            "DB_USER": database.user,
            "DB_PASSWORD": database.password.get_secret_value(),
            "REDIS_PORT": str(server.port),
            "API_PORT": str(options.port),
            "LOG_LEVEL": "ERROR",
            "PYTHONPATH": str(ROOT / "common"),  # this tree's, not the one that is installed
        }
        main_py = str(ROOT / "api-server" / "main.py")
        with subprocess.Popen([sys.executable, main_py], env=environment) as ours:
            time.sleep(5)
            selector = connect(options.port, options.clients)
            time.sleep(2)
            publisher = threading.Thread(
                target=publish,
                args=(server.port, options.messages, options.rate, time.time_ns() // 1000),
            )
            publisher.start()
            took = sorted(read(selector, options.messages * options.clients))
            publisher.join()
            ours.terminate()
    print(
        f"{options.clients} clients, {len(took)} reads of {options.messages * options.clients}: "
        f"median {took[len(took) // 2]:.1f} ms, p99 {took[len(took) * 99 // 100]:.1f} ms, "
        f"first client {took[0]:.1f} ms"
    )


if __name__ == "__main__":
    main()
