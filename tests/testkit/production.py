# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The suite of ``docker-compose.prod.yml``, run for tests with an exchange and a chain at home."""

import json
import os
import re
import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from testkit.images import impatient
from testkit.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "linkora-production"
TIMEOUT_S = 600
# A database image of one's own, such as one with TimescaleDB where the usual one has none.
TIMESCALEDB_IMAGE = os.environ.get("TEST_TIMESCALEDB_IMAGE", "timescale/timescaledb:2.28.3-pg16")
OURS = ("data-collector", "api-server", "order-api", "order-events", "gateway")
SERVICES = ("timescaledb", "redis", *OURS)
OVERRIDE = f"""\
services:
  timescaledb: {{container_name: linkora_production_timescaledb, image: {TIMESCALEDB_IMAGE}}}
  redis: {{container_name: linkora_production_redis}}
  exchange: {{networks: [outside]}}
  chain: {{networks: [outside, front]}}
  prometheus: {{volumes: ["./prometheus:/etc/linkora:ro"]}}
{impatient(OURS)}"""
PROMETHEUS_INTERVAL_S = 2
"""Between looks; in the configuration it is 15, and every test would wait for that."""


def look_more_often(folder: Path) -> None:
    """Copy Prometheus's configuration and rules; the times between its looks become short."""
    shutil.copytree(ROOT / "monitoring/prometheus", folder)
    configuration = folder / "prometheus.yml"
    text, count = re.subn(
        r"(_interval|_timeout): \d+s",
        rf"\1: {PROMETHEUS_INTERVAL_S}s",
        configuration.read_text(),
    )
    assert count > 3
    configuration.write_text(text)


class Production:
    """The suite of ``docker-compose.prod.yml``, with an exchange and a chain at home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment_file = folder / "env"
        names = ("API_PORT", "ORDER_API_PORT", "COLLECTOR_PORT", "EVENTS_PORT", "EXCHANGE_PORT")
        ports = {
            name: str(free_port())
            for name in (*names, "CHAIN_PORT", "HTTPS_PORT", "PROMETHEUS_PORT")
        }
        start = (datetime.now(UTC) - timedelta(hours=6)).isoformat(timespec="seconds")
        self.environment = os.environ | ports | {
            "START_DATE": start, "SYMBOLS": "BTCUSDT", "RATE_LIMIT": "0", "DB_CPUS": "1.5",
            "DB_SHARED_BUFFERS": "128MB", "TLS_DIR": str(folder / "tls"),
            "ENV_FILE": str(self.environment_file), "EDGE_REQUESTS_PER_S": "5000",
            "EDGE_BURST": "5000", "EDGE_CONNECTIONS": "500", "SKIP_BUILD": "1",
        }  # fmt: skip
        override = folder / "names.yml"
        override.write_text(OVERRIDE.replace("./prometheus", str(folder / "prometheus")))
        look_more_often(folder / "prometheus")
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
