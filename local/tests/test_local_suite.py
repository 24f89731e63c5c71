# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The whole suite without Docker, started, killed, resumed and stopped for real."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from localrun.layout import Layout
from localrun.leftovers import find_leftovers
from localrun.settings import PORTS
from localrun.starting import run_id
from localrun.supervisor import Supervisor
from testkit.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
PYTHON_FOLDERS = ("local", "common", "data-collector", "demo/chain")
COMMAND_TIMEOUT_S = 150.0

pytestmark = pytest.mark.timeout(300)


class Local:
    """One folder with a suite of its own, on free ports."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder)
        self.ports = {name: free_port() for name in PORTS}
        yesterday = datetime.now(UTC) - timedelta(days=1)
        self.environment = os.environ | {
            **{name: str(port) for name, port in self.ports.items()},
            "LINKORA_LOCAL_DIR": str(folder),
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in PYTHON_FOLDERS),
            "START_DATE": yesterday.date().isoformat(),
            "SYMBOLS": "BTCUSDT",
        }

    def start_process(self, *arguments: str, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-P", str(ROOT / "local/main.py"), *arguments],
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **more: str) -> tuple[int, str]:
        process = self.start_process(*arguments, **more)
        output, _ = process.communicate(timeout=COMMAND_TIMEOUT_S)
        return process.returncode, output

    def start(self) -> str:
        code, output = self.run("--detach", "--exchange", "simulator")
        assert code == 0, output
        return output

    def ask(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self.ports['API_PORT']}{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.loads(answer.read())

    def pid(self, program: str) -> int:
        states = Supervisor(self.layout).processes()
        return next(int(state["pid"]) for state in states if state["name"] == program)

    def processes(self) -> list[psutil.Process]:
        return list(find_leftovers(run_id(self.layout)))

    def closed_candles(self) -> list[dict[str, Any]]:
        rows = self.ask("/candles?symbol=BTCUSDT&timeframe=1&limit=30")
        return [row for row in rows if row["is_closed"]]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    suite = Local(tmp_path_factory.mktemp("local"))
    try:
        yield suite
    finally:
        suite.run("stop")


def wait_until(is_so: Callable[[], bool], timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.2)


def answers_healthy(local: Local) -> bool:
    try:
        return bool(local.ask("/health")["status"] == "healthy")
    except OSError:
        return False


def test_a_detached_start_returns_when_all_is_healthy_and_says_where_it_is(local: Local) -> None:
    output = local.start()
    assert "all healthy" in output
    assert "SIMULATED prices" in output
    assert f"http://127.0.0.1:{local.ports['API_PORT']}" in output
    assert local.ask("/health")["status"] == "healthy"
    assert len(local.closed_candles()) > 20


def test_status_tells_every_program(local: Local) -> None:
    local.start()
    code, output = local.run("status")
    assert code == 0, output
    for program in ("postgres", "redis", "exchange", "data-collector", "api-server", "order-api"):
        assert f"{program} " in output


def test_a_second_start_leaves_a_running_suite_alone(local: Local) -> None:
    local.start()
    before = local.pid("api-server")
    assert "runs already" in local.start()
    assert local.pid("api-server") == before


def test_secrets_are_readable_by_their_owner_only(local: Local) -> None:
    local.start()
    for path in (local.layout.folder / "secrets.json", local.layout.environment):
        assert path.stat().st_mode & 0o077 == 0
    arguments = [" ".join(process.cmdline()) for process in local.processes()]
    secrets = local.layout.secrets()
    assert not [line for line in arguments if secrets.database in line or secrets.redis in line]


def test_everything_listens_on_the_loopback_address_only(local: Local) -> None:
    local.start()
    ports = set(local.ports.values())
    listening = {
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port in ports
    }
    assert listening == {"127.0.0.1"}


def test_a_killed_service_is_started_again(local: Local) -> None:
    local.start()
    killed = local.pid("api-server")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: local.pid("api-server") not in {0, killed} and answers_healthy(local))
    # The supervisor calls it running only after a while.
    wait_until(lambda: local.run("status")[0] == 0)


def test_after_the_supervisor_is_killed_a_new_start_resumes_with_the_data(local: Local) -> None:
    local.start()
    before = local.closed_candles()
    os.kill(Supervisor(local.layout).pid(), signal.SIGKILL)
    assert "all healthy" in local.start()
    after = {row["timestamp"]: row for row in local.closed_candles()}
    kept = [row for row in before if row["timestamp"] in after]
    assert len(kept) > 20
    assert [after[row["timestamp"]] for row in kept] == kept


def test_the_logs_carry_the_programs_names(local: Local) -> None:
    local.start()
    code, output = local.run("logs", "data-collector", "postgres", "--no-follow")
    assert code == 0
    assert {line.split(" |")[0].strip() for line in output.splitlines()} == {
        "data-collector",
        "postgres",
    }
    code, output = local.run("logs", "nobody", "--no-follow")
    assert code == 1
    assert "nobody" in output


def test_stop_ends_every_process_and_frees_the_ports(local: Local) -> None:
    local.start()
    code, output = local.run("stop")
    assert code == 0, output
    assert local.processes() == []
    for port in local.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert local.run("status")[0] == 3


def test_a_taken_port_is_named_with_what_to_do(local: Local) -> None:
    local.run("stop")
    with socket.create_server(("127.0.0.1", local.ports["API_PORT"])):
        code, output = local.run("--detach", "--exchange", "simulator", "--no-chain")
    assert code == 1
    assert f"port {local.ports['API_PORT']} (market data API) is taken" in output
    assert "API_PORT=" in output
    assert local.processes() == []


def test_a_wrong_setting_of_a_service_ends_the_start_with_its_words(local: Local) -> None:
    local.run("stop")
    code, output = local.run(
        "--detach", "--exchange", "simulator", "--no-chain", ORDERBOOK_LEVELS="many"
    )
    assert code == 1
    assert "ORDERBOOK_LEVELS" in output
    assert local.processes() == []


def test_sigterm_ends_a_suite_in_the_foreground(local: Local) -> None:
    local.run("stop")
    process = local.start_process("--exchange", "simulator", "--no-chain")
    assert process.stdout is not None
    try:
        lines = list(iter(process.stdout.readline, "Ctrl-C stops it; the logs follow\n"))
        assert any("all healthy" in line for line in lines)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert output.rstrip().endswith("stopped")
    assert local.processes() == []


def test_a_start_that_is_interrupted_leaves_nothing_behind(local: Local) -> None:
    local.run("stop")
    process = local.start_process("--detach", "--exchange", "simulator", "--no-chain")
    wait_until(lambda: len(local.processes()) > 4)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output.rstrip().endswith("stopped before it was up")
    assert local.processes() == []
