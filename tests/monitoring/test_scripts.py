# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The diagnostic scripts on a real suite of ``run_local.sh``: healthy, and broken in five ways."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from testkit.diagnostics import ROOMY, contradictions
from testkit.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
PORTS = (
    "API_PORT", "ORDER_API_PORT", "COLLECTOR_PORT", "EVENTS_PORT", "EXCHANGE_PORT", "CHAIN_PORT",
    "DB_PORT", "REDIS_PORT",
)  # fmt: skip
GROUPS = {"postgres": "stores", "redis": "stores"}
START_TIMEOUT_S = 240
OLD = "UPDATE collector_state SET last_open_time = last_open_time - interval '10 minutes'"
pytestmark = pytest.mark.timeout(400)


class LocalSuite:
    """One suite in a folder of its own, and the scripts pointed at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            **{name: str(free_port()) for name in PORTS},
            "LINKORA_LOCAL_DIR": str(folder),
            "SYMBOLS": "BTCUSDT",
            "START_DATE": time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400)),
            "LOG_LEVEL": "INFO",
            "HANG_S": "3",
            **ROOMY,
        }

    def run(self, *command: str, stdin: str = "") -> tuple[int, str]:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, check=False, text=True, input=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=START_TIMEOUT_S,
        )  # fmt: skip
        return done.returncode, done.stdout

    def check(self, name: str, *options: str, stdin: str = "") -> tuple[int, str]:
        script = f"monitoring/scripts/{name}.sh"
        return self.run(script, "--mode", "local", *options, stdin=stdin)

    def supervisorctl(self) -> tuple[str, ...]:
        socket = self.folder / "run/supervisor.sock"
        if not socket.exists():
            config = (self.folder / "run/supervisord.conf").read_text()
            (line,) = [line for line in config.splitlines() if line.startswith("file=")]
            socket = Path(line.removeprefix("file="))
        return (str(ROOT / ".venv/bin/supervisorctl"), "-s", f"unix://{socket}")

    def control(self, *arguments: str) -> None:
        code, told = self.run(*self.supervisorctl(), *arguments)
        assert code == 0, told

    def process(self, program: str) -> int:
        code, told = self.run(
            *self.supervisorctl(), "pid", f"{GROUPS.get(program, 'services')}:{program}"
        )
        assert code == 0, told
        return int(told)

    def settings(self) -> dict[str, str]:
        lines = (self.folder / "env").read_text().splitlines()
        pairs = [line.removeprefix("export ").split("=", 1) for line in lines]
        return {name: value.strip("'\"") for name, value in pairs}

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.settings()["DATABASE_URL"], autocommit=True)

    def until_good(self) -> str:
        deadline = time.monotonic() + 60
        while True:
            code, told = self.check("quick_check")
            if code == 0 or time.monotonic() > deadline:
                assert code == 0, told
                return told
            time.sleep(1)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSuite]:
    running = LocalSuite(tmp_path_factory.mktemp("suite"))
    code, told = running.run("./run_local.sh", "--detach", "--exchange", "simulator")
    try:
        assert code == 0, told
        running.until_good()
        yield running
    finally:
        running.run("./run_local.sh", "stop")


@pytest.mark.parametrize(
    ("state", "program", "service"),
    [
        ("healthy", "", ""),
        ("database down", "stores:postgres", "timescaledb"),
        ("Redis down", "stores:redis", "redis"),
        ("collector stopped", "services:data-collector", "data-collector"),
        ("chain down", "services:chain", ""),
    ],
)
def test_each_script_says_the_right_thing(
    suite: LocalSuite, state: str, program: str, service: str
) -> None:
    suite.until_good()
    if not program:
        assert contradictions(state, suite.check) == []
        return
    suite.control("stop", program)
    if service == "data-collector":
        with suite.connect() as connection:  # as if some minutes had passed
            connection.execute(OLD)
    try:
        wrong = contradictions(state, suite.check)
        refused = suite.check("emergency_fix", stdin="n\n" if service else "")[1]
    finally:
        if service:
            mended = suite.check("emergency_fix", "--yes")[1]
        else:
            suite.control("start", program)
    assert wrong == []
    assert "DONE" not in refused
    if service:
        assert refused.count("left alone\n") == 1
        assert f"DONE     {service} is STOPPED" in mended
    suite.until_good()


@pytest.mark.parametrize(
    ("program", "service"), [("order-events", "order-events"), ("redis", "redis")]
)
def test_a_process_that_hangs_is_restarted_once_that_is_agreed_to(
    suite: LocalSuite, program: str, service: str
) -> None:
    suite.until_good()
    hung = suite.process(program)
    os.kill(hung, signal.SIGSTOP)
    offered = suite.check("emergency_fix", stdin="n\n")[1]
    assert f"{service} does not answer: " in offered
    assert offered.count("left alone\n") == 1
    told = suite.check("emergency_fix", "--yes")[1]
    assert f"DONE     {service} does not answer" in told
    assert suite.process(program) != hung
    suite.until_good()


def test_a_printed_command_shows_the_log(suite: LocalSuite) -> None:
    for service in ("timescaledb", "redis", "order-events", "data-collector"):
        sources = "; ".join(f". monitoring/scripts/{n}.sh" for n in ("lib", "checks"))
        asked = f"{sources}; read_options --mode local; log_command {service}"
        command = suite.run("bash", "-c", asked)[1].strip()
        code, told = suite.run("bash", "-c", command)
        assert code == 0, told
        assert "|" in told


def test_a_dead_suite_comes_back_with_its_own_chain_and_prices(suite: LocalSuite) -> None:
    suite.until_good()
    before = json.loads((suite.folder / "run/state.json").read_text())
    assert before["has_chain"], "node and npm are needed"
    assert suite.run("./run_local.sh", "stop")[0] == 0
    told = suite.check("emergency_fix", "--yes")[1]
    assert "DONE     the suite does not run" in told
    assert json.loads((suite.folder / "run/state.json").read_text()) == before
    suite.until_good()


def test_old_data_are_told_with_their_age(suite: LocalSuite) -> None:
    suite.control("stop", "services:order-events")  # or it would correct what is written here
    with suite.connect() as connection:
        connection.execute(
            "INSERT INTO collector_state (symbol, last_open_time)"
            " VALUES ('OLDUSDT', now() - interval '10 minutes')"
        )
        connection.execute(
            "INSERT INTO candle_gaps (symbol, from_time, to_time, opened_at) VALUES"
            " ('OLDUSDT', '2024-01-01Z', '2024-01-02Z', now() - interval '1 hour')"
        )
        connection.execute(
            "INSERT INTO dead_letters (source, reason, payload) VALUES ('x', 'unknown', '{}')"
        )
        connection.execute("UPDATE system_state SET head_block = last_block + 4900")
        try:
            code, told = suite.check("data_check")
        finally:
            connection.execute("DELETE FROM collector_state WHERE symbol = 'OLDUSDT'")
            connection.execute("DELETE FROM candle_gaps WHERE symbol = 'OLDUSDT'")
            connection.execute("DELETE FROM dead_letters")
            connection.execute("UPDATE system_state SET head_block = last_block")
            suite.control("start", "services:order-events")
    assert code == 2
    assert "CRITICAL candles                newest minute of the oldest of 2 symbols (OLD" in told
    assert "WARNING  order books            OLDUSDT has had none for a day" in told
    assert "WARNING  open gaps              1 gaps (1440 minutes)" in told
    assert "WARNING  dead letters           1 events" in told
    assert "CRITICAL chain                  ACTIVE, 4900 blocks behind the head" in told


def test_a_wrong_rollup_and_an_unknown_hole_are_found(suite: LocalSuite) -> None:
    hour = "date_trunc('hour', now()) - interval '2 hours'"
    with suite.connect() as connection:
        taken = f"open_time = {hour} + interval '30 minutes'"
        connection.execute(f"CREATE TABLE kept AS SELECT * FROM candles WHERE {taken}")  # type: ignore[arg-type]
        connection.execute(f"DELETE FROM candles WHERE {taken}")  # type: ignore[arg-type]
        code, told = suite.check("data_check")
        connection.execute("INSERT INTO candles SELECT * FROM kept ON CONFLICT DO NOTHING")
        connection.execute("DROP TABLE kept")
    assert code == 2
    assert "CRITICAL rollups                1 hours" in told
    assert "WARNING  missing minutes        1 holes" in told


def test_an_idle_transaction_is_seen_and_its_owner_named(suite: LocalSuite) -> None:
    holder = psycopg.connect(suite.settings()["DATABASE_URL"], application_name="forgotten")
    blocked = psycopg.connect(suite.settings()["DATABASE_URL"], application_name="waiting")
    try:
        holder.execute("LOCK TABLE service_metrics IN SHARE MODE")
        code, told = suite.check("db_connections_check")
        assert code == 0, told
        assert "|forgotten|idle in transaction|1|" in told
    finally:
        holder.close()
        blocked.close()


def test_a_nearly_full_disk_is_critical(suite: LocalSuite, tmp_path: Path) -> None:
    """A small volume of its own in the suite folder's place; needs the right to mount."""
    small = tmp_path / "small"
    small.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)]
    if subprocess.run(made, check=False, capture_output=True).returncode != 0:
        # Without that right: any volume is nearly full if 1 % is the bound.
        bounded = 'grade() { tell CRITICAL 31 "$1" "$5"; }; check_disk'
        sources = "; ".join(f". monitoring/scripts/{n}.sh" for n in ("lib", "checks"))
        _, told = suite.run("bash", "-c", f"{sources}; read_options --mode local; {bounded}")
        assert "% used" in told
        return
    try:
        suite.until_good()
        (small / "env").write_text((suite.folder / "env").read_text())
        (small / "logs").symlink_to(suite.folder / "logs")
        (small / "run").symlink_to(suite.folder / "run")
        (small / "data").write_bytes(bytes(3_900_000))

        def check(name: str, *options: str) -> tuple[int, str]:
            usual = [part for variable in ROOMY for part in ("-u", variable)]
            moved = ("env", *usual, f"LINKORA_LOCAL_DIR={small}", f"monitoring/scripts/{name}.sh")
            return suite.run(*moved, "--mode", "local", *options)

        assert contradictions("disk nearly full", check) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_the_scripts_install_into_the_root_and_go_again(tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", ROOT / "monitoring", tmp_path], check=True)
    installer = tmp_path / "monitoring/setup_monitoring.sh"
    subprocess.run([installer], check=True, capture_output=True)
    subprocess.run([installer], check=True, capture_output=True)
    names = {path.name for path in tmp_path.glob("*.sh")}
    assert len(names) == 7
    assert "quick_check.sh" in names
    nothing = {**os.environ, "LINKORA_LOCAL_DIR": str(tmp_path / "none"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [tmp_path / "quick_check.sh", "--mode", "local"],
        env=nothing, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "start with ./run_local.sh" in done.stderr
    subprocess.run([installer, "--remove"], check=True, capture_output=True)
    assert not list(tmp_path.glob("*.sh"))


def test_every_next_step_in_the_runbook_has_its_paragraph() -> None:
    runbook = (ROOT / "docs/operations.md").read_text()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).strip().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", runbook, re.MULTILINE)
    }
    texts = [path.read_text() for path in (ROOT / "monitoring").rglob("*") if path.is_file()]
    named = {n for text in texts for n in re.findall(r"(?:RUNBOOK|operations\.md)#([a-z-]+)", text)}
    assert len(named) > 10
    assert named - anchors == set()
