# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The production file, brought up for real: TLS, users of their own, no lost request."""

import asyncio
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from testkit.production import PROJECT, ROOT, SERVICES, TIMEOUT_S, Production

SOCKETS = 20
ASKED = (
    "/symbols", "/candles?symbol=BTCUSDT&timeframe=5&limit=100", "/price?symbol=BTCUSDT",
    "/orders/all", "/statistics", "/order-api/orders/all?limit=5",
)  # fmt: skip
FOLLOWED = ("/ws?symbol=BTCUSDT&timeframe=1&type=candles", "/order-api/ws")

pytestmark = [pytest.mark.compose, pytest.mark.timeout(2 * TIMEOUT_S)]


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
            ("/metrics", 404), ("/order-api/metrics", 404), ("/order-api/orders/all?limit=5", 200),
            ("/orders/all?limit=1", 200), ("/metrics/history", 200),
        ):  # fmt: skip
            async with session.get(path) as answer:
                assert (path, answer.status) == (path, status)


class Load:
    """Requests and sockets through TLS, and what became of them."""

    def __init__(self, suite: Production) -> None:
        self.answers: Counter[str] = Counter()
        self.outages_s: list[float] = []
        self.unserved = 0
        self.is_over = False
        self._suite = suite

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._suite.tls(), limit=0)
        async with (
            aiohttp.ClientSession(self._suite.https, connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
            for path in ASKED:
                group.create_task(self._ask(session, path))
            for number in range(SOCKETS):
                group.create_task(self._listen(session, FOLLOWED[number % len(FOLLOWED)]))

    async def _ask(self, session: aiohttp.ClientSession, path: str) -> None:
        while not self.is_over:
            try:
                async with session.get(path, timeout=aiohttp.ClientTimeout(30)) as answer:
                    await answer.read()
                    self.answers["200" if answer.status == 200 else f"{path} {answer.status}"] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                self.answers[f"{path} {error!r}"] += 1
            await asyncio.sleep(0.02)

    async def _listen(self, session: aiohttp.ClientSession, url: str) -> None:
        """Follow as a client does: come back at once; note how long nothing was told."""
        lost_s: float | None = time.monotonic()
        is_first = True
        while not self.is_over:
            try:
                async with session.ws_connect(url) as socket:
                    while not self.is_over:
                        message = await socket.receive(timeout=60)
                        if message.type != aiohttp.WSMsgType.TEXT:
                            break
                        if lost_s is not None and not is_first:
                            self.outages_s.append(time.monotonic() - lost_s)
                        lost_s, is_first = None, False
            except aiohttp.ClientError:
                pass
            lost_s = lost_s if lost_s is not None else time.monotonic()
            await asyncio.sleep(0.1)
        self.unserved += is_first


async def test_scaling_killing_and_replacing_replicas_costs_no_request(
    production: Production,
) -> None:
    load = Load(production)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(1)
    scaled = ("up", "-d", "--no-build", "--no-deps", "--no-recreate", "--wait")
    for service in ("api-server", "order-api"):
        more = ("--scale", f"{service}=3", service)
        await asyncio.to_thread(production.run, *scaled, *more)
        replicas = await asyncio.to_thread(production.containers, service)
        assert len(replicas) == 3
        for action in (["kill"], ["restart", "-t", "20"]):
            victim = replicas.pop()["Id"]
            done = await asyncio.create_subprocess_exec("docker", *action, victim, stdout=-3)
            assert await done.wait() == 0
            await asyncio.sleep(3)
        less = ("--scale", f"{service}=2", service)
        await asyncio.to_thread(production.run, *scaled, *less)
    # A restart by the script: one replica after the other, each healthy before the next goes.
    before = {c["Id"] for c in await asyncio.to_thread(production.containers, "order-api")}
    await asyncio.to_thread(production.script, "restart.sh", "order-api")
    after = {c["Id"] for c in await asyncio.to_thread(production.containers, "order-api")}
    assert (len(after), before & after) == (2, set())
    # Every replica of both APIs, the collector and the event processor: new containers for all.
    told = await asyncio.to_thread(production.script, "upgrade.sh")
    await asyncio.sleep(1)
    load.is_over = True
    await asyncio.wait_for(running, 70)
    assert "done" in told
    print(f"{sum(load.answers.values())} requests; {len(load.outages_s)} times a socket came back,")
    print(f"the slowest after {max(load.outages_s):.1f} s")
    assert load.answers.keys() == {"200"}, load.answers
    assert load.answers["200"] > 1000
    assert load.unserved == 0
    assert len(load.outages_s) >= SOCKETS
    assert max(load.outages_s) < 10


def test_a_backup_brings_back_what_was_lost(production: Production) -> None:
    folder = production.folder / "backups"
    bound = production.sql("SELECT now() - interval '1 hour'")  # the same before and after
    closed = f"SELECT count(*) FROM candles WHERE open_time < '{bound}'"
    before = production.sql(closed)
    assert int(before) > 100
    production.script("backup.sh", str(folder))
    (dump,) = folder.glob("*.dump")
    assert dump.stat().st_mode & 0o077 == 0
    production.sql(f"DELETE FROM candles WHERE open_time < '{bound}'")
    production.sql("DELETE FROM order_events; DELETE FROM candles_1h")
    production.script("restore.sh", str(dump), "--yes")
    assert production.sql(closed) == before
    assert int(production.sql("SELECT count(*) FROM candles_1h")) >= 5
    assert int(production.sql("SELECT count(*) FROM order_events")) > 0
    # TimescaleDB's jobs run in the database that has come, where the server has TimescaleDB.
    assert production.sql(
        "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"
    ) == production.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type LIKE 'TimescaleDB % Scheduler'"
    )
    dump.write_bytes(dump.read_bytes()[:-1])
    with pytest.raises(AssertionError, match="differs from its checksum"):
        production.script("restore.sh", str(dump), "--yes")
