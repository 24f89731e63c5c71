# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The demo suite under Docker Compose, brought up for real by each Compose on this machine."""

import asyncio
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from testkit.images import building, impatient
from testkit.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
SERVICES = {
    "timescaledb",
    "redis",
    "data-collector",
    "api-server",
    "order-api",
    "order-events",
    "gateway",
    "exchange",
    "chain",
}
BUILD_TIMEOUT_S = 900
COMMAND_TIMEOUT_S = 300
HEALTHY_TIMEOUT_S = 120
REPLICAS = 3
# Container names are fixed in the suite; a suite that a developer has running is left alone.
OVERRIDE = f"""\
services:
  timescaledb: {{container_name: linkora_smoke_timescaledb}}
  redis: {{container_name: linkora_smoke_redis}}
{impatient(sorted(SERVICES - {"timescaledb", "redis"}))}"""

pytestmark = [pytest.mark.compose, pytest.mark.timeout(BUILD_TIMEOUT_S + COMMAND_TIMEOUT_S)]


class Suite:
    """One running copy of the demo suite, with ports and containers of its own."""

    def __init__(self, command: list[str], folder: Path) -> None:
        names = ("API_PORT", "ORDER_API_PORT", "COLLECTOR_PORT", "EVENTS_PORT", "EXCHANGE_PORT")
        ports = {name: str(free_port()) for name in (*names, "CHAIN_PORT")}
        yesterday = datetime.now(UTC) - timedelta(days=1)
        settings = ports | {"START_DATE": yesterday.date().isoformat(), "SYMBOLS": "BTCUSDT"}
        self._environment = os.environ | settings
        override, nothing = folder / "names.yml", folder / "empty.env"
        override.write_text(OVERRIDE)
        nothing.touch()
        files = [ROOT / "docker-compose.yml", ROOT / "docker-compose.demo.yml", override]
        self._command = [
            *command,
            *("--env-file", str(nothing), "-p", "linkora-smoke"),
            *(part for file in files for part in ("-f", str(file))),
        ]
        self.api = f"http://127.0.0.1:{ports['API_PORT']}"
        self.orders = f"http://127.0.0.1:{ports['ORDER_API_PORT']}"
        self.exchange = f"http://127.0.0.1:{ports['EXCHANGE_PORT']}"

    def run(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=ROOT,
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"{arguments}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """Return what Docker says of the containers that run."""
        found = self.run("ps", "-q", *services).split()
        return [c for c in inspect(*found) if c["State"]["Running"]] if found else []

    def wait_until_healthy(self, *services: str) -> None:
        """Wait until the services' containers run and all are healthy; none named: all."""
        deadline = time.monotonic() + HEALTHY_TIMEOUT_S
        while True:
            running = self.containers(*services)
            wrong = [c["Name"] for c in running if c["State"]["Health"]["Status"] != "healthy"]
            if set(services or SERVICES) <= {service_of(c) for c in running} and not wrong:
                return
            if time.monotonic() > deadline:
                logs = self.run("logs", "--tail", "20")
                raise AssertionError(f"not healthy: {sorted(wrong)}\n{logs[-6000:]}")
            time.sleep(0.5)


def inspect(*containers: str) -> list[dict[str, Any]]:
    shown = subprocess.run(
        ["docker", "inspect", *containers], check=True, capture_output=True, timeout=30
    )
    found: list[dict[str, Any]] = json.loads(shown.stdout)
    return found


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def compose_commands() -> list[Any]:
    """Return the Composes to test with: version 2, else 1, or all of ``TEST_COMPOSE``."""
    plugin = subprocess.run(["docker", "compose", "version"], check=False, capture_output=True)
    installed = "docker compose" if plugin.returncode == 0 else "docker-compose"
    wanted = os.environ.get("TEST_COMPOSE", installed).split(",")
    return [pytest.param(command.split(), id=command.replace(" ", "-")) for command in wanted]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The images, built once; both Composes look for them under the same names."""
    command = compose_commands()[0].values[0]
    builder = Suite(command, tmp_path_factory.mktemp("build"))
    with building():
        builder.run("build", timeout_s=BUILD_TIMEOUT_S)


@pytest.fixture(scope="module", params=compose_commands())
def suite(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, images: None
) -> Iterator[Suite]:
    running = Suite(request.param, tmp_path_factory.mktemp("compose"))
    try:
        running.run("up", "-d", "--no-build")
        running.wait_until_healthy()
        yield running
    finally:
        running.run("down", "-v", "--remove-orphans", "-t", "10")


def closed_candles(suite: Suite, limit: int = 30) -> list[dict[str, Any]]:
    query = f"symbol=BTCUSDT&timeframe=1&limit={limit}"
    rows: list[dict[str, Any]] = ask(f"{suite.api}/candles?{query}")
    return [row for row in rows if row["is_closed"]]


def test_every_service_runs_and_the_migration_is_done(suite: Suite) -> None:
    assert {service_of(container) for container in suite.containers()} == SERVICES


def test_ports_are_published_on_the_loopback_address_only(suite: Suite) -> None:
    addresses = {
        binding["HostIp"]
        for container in suite.containers()
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }
    assert addresses == {"127.0.0.1"}


def test_our_images_run_as_an_ordinary_user(suite: Suite) -> None:
    ours = [c for c in suite.containers() if c["Config"]["Image"].startswith("linkora/")]
    assert len(ours) == len(SERVICES) - 2
    assert all(c["Config"]["User"] not in {"", "root", "0"} for c in ours)


def test_candles_equal_the_exchanges_own_rows(suite: Suite) -> None:
    rows = closed_candles(suite)
    assert len(rows) > 20
    first, last = rows[0]["timestamp"], rows[-1]["timestamp"]
    query = f"symbol=BTCUSDT&interval=1m&startTime={first}&endTime={last}&limit=1000"
    klines = ask(f"{suite.exchange}/api/v3/klines?{query}")
    names = ("open_price", "high_price", "low_price", "close_price", "volume", "quote_volume")
    ours = [[row["timestamp"], *(float(row[n]) for n in names), row["trades"]] for row in rows]
    theirs = [[k[0], *(float(k[i]) for i in (1, 2, 3, 4, 5, 7)), k[8]] for k in klines]
    assert ours == theirs


async def test_a_socket_through_the_gateway_gets_live_candles(suite: Suite) -> None:
    url = f"{suite.api}/ws?symbol=BTCUSDT&timeframe=5&type=candles"
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession() as session,
        session.ws_connect(url) as socket,
    ):
        async for message in socket:
            candle = json.loads(message.data)
            if candle.get("channel") == "candles":
                break
    assert candle["symbol"] == "BTCUSDT"
    assert float(candle["low"]) <= float(candle["close"]) <= float(candle["high"])


def test_the_order_api_follows_the_local_chain(suite: Suite) -> None:
    components = ask(f"{suite.orders}/health")["components"]
    assert components["event_processor"] == "ACTIVE"
    assert components["chain_id"] == 31337


def test_the_api_scales_and_a_killed_replica_costs_no_request(suite: Suite) -> None:
    suite.run("up", "-d", "--no-build", "--no-recreate", "--scale", f"api-server={REPLICAS}")
    suite.wait_until_healthy("api-server")
    replicas = suite.containers("api-server")
    assert len(replicas) == REPLICAS
    subprocess.run(["docker", "kill", replicas[0]["Id"]], check=True, capture_output=True)
    statuses = [status_of(f"{suite.api}/symbols") for _ in range(60)]
    assert statuses == [200] * 60
    suite.run("up", "-d", "--no-build", "--no-recreate", "--scale", "api-server=1")
    suite.wait_until_healthy()


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_every_container_can_be_restarted_and_the_data_stays(suite: Suite) -> None:
    before = closed_candles(suite)
    for service in sorted(SERVICES):
        suite.run("restart", "-t", "15", service)
    suite.wait_until_healthy()
    after = {row["timestamp"]: row for row in closed_candles(suite, limit=60)}
    assert [after[row["timestamp"]] for row in before] == before


def test_the_migration_runs_again_and_changes_nothing(suite: Suite) -> None:
    suite.run("up", "-d", "--no-build", "--no-recreate")
    done = subprocess.run(
        ["docker", "ps", "-aq", "--filter", "label=com.docker.compose.project=linkora-smoke",
         "--filter", "label=com.docker.compose.service=migrate"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    states = [container["State"] for container in inspect(*done.stdout.split())]
    assert [(state["Status"], state["ExitCode"]) for state in states] == [("exited", 0)]
