# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The production file, brought up for real: TLS, users of their own, no lost request."""

import asyncio
import json
import os
import re
import shutil
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from testkit.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "linkora-production"
TIMEOUT_S = 600
OVERRIDE = """\
services:
  timescaledb: {container_name: linkora_production_timescaledb}
  redis: {container_name: linkora_production_redis}
  exchange: {networks: [outside]}
  chain: {networks: [outside, front]}
"""
SERVICES = (
    "timescaledb", "redis", "data-collector", "api-server", "order-api", "order-events", "gateway",
)  # fmt: skip
SOCKETS = 20
CANDLES = "/candles?symbol=BTCUSDT&timeframe=5&limit=100"

pytestmark = [pytest.mark.compose, pytest.mark.timeout(2 * TIMEOUT_S)]


class Production:
    """The suite of ``docker-compose.prod.yml``, with an exchange and a chain at home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment_file = folder / "env"
        names = ("API_PORT", "ORDER_API_PORT", "COLLECTOR_PORT", "EVENTS_PORT", "EXCHANGE_PORT")
        ports = {name: str(free_port()) for name in (*names, "CHAIN_PORT", "HTTPS_PORT")}
        start = (datetime.now(UTC) - timedelta(hours=6)).isoformat(timespec="seconds")
        self.environment = os.environ | ports | {
            "START_DATE": start, "SYMBOLS": "BTCUSDT", "RATE_LIMIT": "0", "DB_CPUS": "1.5",
            "DB_SHARED_BUFFERS": "128MB", "TLS_DIR": str(folder / "tls"),
            "ENV_FILE": str(self.environment_file), "EDGE_REQUESTS_PER_S": "5000",
            "EDGE_BURST": "5000", "EDGE_CONNECTIONS": "500", "SKIP_BUILD": "1",
        }  # fmt: skip
        override = folder / "names.yml"
        override.write_text(OVERRIDE)
        files = [f"docker-compose{part}.yml" for part in ("", ".demo", ".prod")]
        self._command = [
            *("docker", "compose", "--env-file", str(self.environment_file), "-p", PROJECT),
            *(part for file in [*files, str(override)] for part in ("-f", file)),
        ]
        self.environment["COMPOSE"] = " ".join(self._command)
        self.https = f"https://localhost:{ports['HTTPS_PORT']}"

    def script(self, name: str, *arguments: str) -> str:
        return self._run(f"production/{name}", *arguments)

    def run(self, *arguments: str) -> str:
        return self._run(*self._command, *arguments)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, check=False, capture_output=True, text=True,
            timeout=TIMEOUT_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def containers(self, *services: str) -> list[dict[str, Any]]:
        ids = self.run("ps", "-q", *services).split()
        shown = subprocess.run(["docker", "inspect", *ids], check=True, capture_output=True)
        found: list[dict[str, Any]] = json.loads(shown.stdout)
        return found

    def sql(self, statement: str) -> str:
        return self.run(
            "exec", "-T", "timescaledb", "psql", "-XqAt", "-U", "linkora", "-c", statement
        ).strip()

    def secrets(self) -> dict[str, str]:
        lines = self.environment_file.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "tls/fullchain.pem"))


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    suite = Production(tmp_path_factory.mktemp("production"))
    suite.script("make_secrets.sh")
    suite.script("make_certificate.sh")
    suite.run("build", "-q")
    try:
        suite.run("up", "-d", "--no-build", "--wait")
        yield suite
    finally:
        suite.run("down", "-v", "--remove-orphans", "-t", "10")


def test_without_its_secrets_it_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    ways = [["docker", "compose"], ["docker-compose"]]
    for way in [way for way in ways if shutil.which(way[-1] if len(way) == 1 else "docker")]:
        done = subprocess.run(
            [*way, "--env-file", str(tmp_path / "empty"), "-f", "docker-compose.yml",
             "-f", "docker-compose.prod.yml", "config"],
            cwd=ROOT, check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode != 0
        assert "PASSWORD" in done.stderr


def test_only_the_loopback_address_is_published_and_no_store(production: Production) -> None:
    for container in production.containers(*SERVICES):
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        ports = container["NetworkSettings"]["Ports"] or {}
        addresses = {b["HostIp"] for bindings in ports.values() for b in bindings or []}
        assert addresses <= {"127.0.0.1"}
        if service in {"timescaledb", "redis"}:
            assert not addresses
            networks = list(container["NetworkSettings"]["Networks"])
            assert networks == [f"{PROJECT}_stores"]


def test_every_container_is_bounded_and_may_little(production: Production) -> None:
    for container in production.containers(*SERVICES):
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"], container["Name"]
        assert host["CapDrop"] == ["ALL"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert host["Memory"] > 0
        assert host["NanoCpus"] > 0
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["LogConfig"]["Config"]["max-size"]


def test_no_process_list_and_no_log_shows_a_secret(production: Production) -> None:
    secrets = production.secrets()
    assert len(secrets) == 11
    shown = production.run("logs", "--no-color")
    for container in production.containers():
        top = subprocess.run(
            ["docker", "top", container["Id"], "-eo", "pid,args"], check=True, capture_output=True
        )
        shown += top.stdout.decode()
    assert [name for name, secret in secrets.items() if secret in shown] == []


def test_each_service_is_its_own_user_of_the_database(production: Production) -> None:
    seen = dict(
        line.split("|")
        for line in production.sql(
            "SELECT DISTINCT application_name, usename FROM pg_stat_activity"
            " WHERE application_name ~ '^(data-collector|api-server|order-api|order-events)$'"
        ).splitlines()
    )
    assert seen["data-collector"] == "linkora_collector"
    assert seen["api-server"] == "linkora_api"
    assert "linkora" not in seen.values()


def test_redis_refuses_none_of_our_commands(production: Production) -> None:
    refused = production.run(
        "exec", "-T", "redis", "sh", "-c",
        'redis-cli --no-auth-warning --user admin --pass "$REDIS_PASSWORD" acl log',
    )  # fmt: skip
    objects = re.findall(r"object\n(\S+)", refused)
    # Clients say their library's name at the start, and take a refusal of that for an old server.
    assert [name for name in objects if not name.startswith("client")] == []


async def test_tls_speaks_http_2_with_the_headers_and_hides_the_metrics(
    production: Production,
) -> None:
    offered = production.tls()
    offered.set_alpn_protocols(["h2"])
    port = int(production.https.rpartition(":")[2])
    _, writer = await asyncio.open_connection("localhost", port, ssl=offered)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    writer.close()
    async with aiohttp.ClientSession(
        production.https, connector=aiohttp.TCPConnector(ssl=production.tls())
    ) as session:
        async with session.get("/symbols", headers={"x-request-id": "from-outside"}) as answer:
            assert answer.status == 200
            assert answer.headers["x-request-id"] == "from-outside"
            assert answer.headers["strict-transport-security"].startswith("max-age=")
            assert answer.headers["x-content-type-options"] == "nosniff"
        for path, status in (
            ("/metrics", 404), ("/order-api/metrics", 404), ("/order-api/health", 200),
            ("/orders/all?limit=1", 200), ("/metrics/history", 200),
        ):  # fmt: skip
            async with session.get(path) as answer:
                assert (path, answer.status) == (path, status)


class Load:
    """Requests and sockets through TLS, and what became of them."""

    def __init__(self, suite: Production) -> None:
        self.answers: Counter[str] = Counter()
        self.outages_s: list[float] = []
        self.is_over = False
        self._suite = suite

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._suite.tls(), limit=0)
        async with (
            aiohttp.ClientSession(self._suite.https, connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
            for path in ("/symbols", CANDLES, "/price?symbol=BTCUSDT", "/orders/all"):
                group.create_task(self._ask(session, path))
            for _ in range(SOCKETS):
                group.create_task(self._listen(session))

    async def _ask(self, session: aiohttp.ClientSession, path: str) -> None:
        while not self.is_over:
            try:
                async with session.get(path, timeout=aiohttp.ClientTimeout(30)) as answer:
                    await answer.read()
                    self.answers["200" if answer.status == 200 else f"{path} {answer.status}"] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                self.answers[f"{path} {error!r}"] += 1
            await asyncio.sleep(0.02)

    async def _listen(self, session: aiohttp.ClientSession) -> None:
        lost_s: float | None = None
        while not self.is_over:
            try:
                url = "/ws?symbol=BTCUSDT&timeframe=1&type=candles"
                async with session.ws_connect(url) as socket:
                    while not self.is_over:
                        message = await socket.receive(timeout=30)
                        if message.type != aiohttp.WSMsgType.TEXT:
                            break
                        if lost_s is not None:
                            self.outages_s.append(time.monotonic() - lost_s)
                            lost_s = None
            except aiohttp.ClientError:
                pass
            lost_s = lost_s if lost_s is not None else time.monotonic()
            await asyncio.sleep(0.1)
        assert lost_s is None or self.is_over


async def test_scaling_killing_and_replacing_replicas_costs_no_request(
    production: Production,
) -> None:
    load = Load(production)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(1)
    scaled = ("up", "-d", "--no-build", "--no-deps", "--no-recreate", "--wait")
    await asyncio.to_thread(production.run, *scaled, "--scale", "api-server=3", "api-server")
    replicas = await asyncio.to_thread(production.containers, "api-server")
    assert len(replicas) == 3
    for action in (["kill"], ["restart", "-t", "20"]):
        victim = replicas.pop()["Id"]
        done = await asyncio.create_subprocess_exec("docker", *action, victim, stdout=-3)
        assert await done.wait() == 0
        await asyncio.sleep(3)
    await asyncio.to_thread(production.run, *scaled, "--scale", "api-server=2", "api-server")
    # Every replica of both APIs, the collector and the event processor: new containers for all.
    told = await asyncio.to_thread(production.script, "upgrade.sh")
    await asyncio.sleep(1)
    load.is_over = True
    await asyncio.wait_for(running, 40)
    assert "done" in told
    assert load.answers.keys() == {"200"}, load.answers
    assert load.answers["200"] > 500
    assert len(load.outages_s) >= SOCKETS
    assert max(load.outages_s) < 10


def test_a_backup_brings_back_what_was_lost(production: Production) -> None:
    folder = production.folder / "backups"
    closed = "SELECT count(*) FROM candles WHERE open_time < now() - interval '1 hour'"
    before = production.sql(closed)
    assert int(before) > 100
    production.script("backup.sh", str(folder))
    (dump,) = folder.glob("*.dump")
    assert dump.stat().st_mode & 0o077 == 0
    production.sql("DELETE FROM candles WHERE open_time < now() - interval '1 hour'")
    production.sql("DELETE FROM order_events; DELETE FROM candles_1h")
    production.script("restore.sh", str(dump), "--yes")
    assert production.sql(closed) == before
    assert int(production.sql("SELECT count(*) FROM candles_1h")) >= 5
    assert int(production.sql("SELECT count(*) FROM order_events")) > 0
    dump.write_bytes(dump.read_bytes()[:-1])
    with pytest.raises(AssertionError, match="differs from its checksum"):
        production.script("restore.sh", str(dump), "--yes")
