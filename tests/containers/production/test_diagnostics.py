# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The diagnostic scripts on the production suite: healthy, and broken in five ways."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.diagnostics import DISK, ROOMY, contradictions
from testkit.production import PROJECT, ROOT, TIMESCALEDB_IMAGE, Production

SMALL = f"{PROJECT}-small"
GOOD_TIMEOUT_S = 120
OLD = "UPDATE collector_state SET last_open_time = last_open_time - interval '10 minutes'"

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]


def check(name: str, *options: str, project: str = PROJECT) -> tuple[int, str]:
    script = ROOT / f"monitoring/scripts/{name}.sh"
    environment = os.environ | (ROOMY if project == PROJECT else {})
    done = subprocess.run(
        [script, "--mode", "compose", "--project", project, *options], check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, env=environment,
    )  # fmt: skip
    return done.returncode, done.stdout


def until_good() -> None:
    deadline = time.monotonic() + GOOD_TIMEOUT_S
    while (found := check("quick_check"))[0] != 0:
        assert time.monotonic() < deadline, found[1]
        time.sleep(2)


@pytest.mark.parametrize(
    ("state", "service"),
    [
        ("healthy", ""),
        ("database down", "timescaledb"),
        ("Redis down", "redis"),
        ("collector stopped", "data-collector"),
        ("chain down", "chain"),
    ],
)
def test_each_script_says_the_right_thing(production: Production, state: str, service: str) -> None:
    until_good()
    if not service:
        assert contradictions(state, check) == []
        return
    production.run("stop", "-t", "20", service)
    if service == "data-collector":
        production.sql(OLD)  # as if some minutes had passed
    try:
        wrong = contradictions(state, check)
    finally:
        if service == "chain":
            production.run("start", service)
        else:
            told = check("emergency_fix", "--yes")[1]
    assert wrong == []
    if service != "chain":
        assert f"DONE     {service} is exited" in told
    until_good()


@pytest.fixture
def small() -> Iterator[str]:
    """A database alone, in a volume of 200 MB that is nearly full."""
    labels = {"project": SMALL, "service": "timescaledb", "oneoff": "False"}
    done = subprocess.run(
        ["docker", "run", "-d", "-e", "POSTGRES_USER=linkora", "-e", "POSTGRES_PASSWORD=x",
         "-e", "POSTGRES_DB=linkora", "--tmpfs", "/var/lib/postgresql/data:size=200m",
         *(part for k, v in labels.items() for part in ("--label", f"com.docker.compose.{k}={v}")),
         TIMESCALEDB_IMAGE],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    container = done.stdout.strip()
    fill = (
        "until pg_isready -q -h 127.0.0.1; do sleep 0.3; done; cd /var/lib/postgresql/data &&"
        " free=$(df -Pk . | awk 'NR == 2 {print $4}') &&"
        " dd if=/dev/zero of=filler bs=1k count=$((free - 9000)) status=none"
    )
    try:
        subprocess.run(["docker", "exec", container, "sh", "-c", fill], check=True, timeout=60)
        yield container
    finally:
        subprocess.run(["docker", "rm", "-fv", container], check=True, capture_output=True)


def test_a_nearly_full_volume_is_critical_in_every_script_that_looks_at_it(small: str) -> None:
    for name in ("monitor_growth", "quick_check", "full_diagnostics", "emergency_fix"):
        options = ("--dry-run",) if name == "emergency_fix" else ()
        code, told = check(name, *options, project=SMALL)
        assert code == 2
        (line,) = [line for line in told.splitlines() if line.startswith("CRITICAL disk")]
        assert line.endswith("MB free (the database's volume)")
        assert DISK[1].split("#")[1] in told


def test_a_database_without_our_tables_is_never_called_good(small: str) -> None:
    for name in ("data_check", "full_diagnostics", "monitor_growth"):
        code, told = check(name, project=SMALL)
        assert code == 2
        assert "the database refuses the question: ERROR:  relation" in told
        assert "next: ./emergency_fix.sh runs the migrations" in told
        assert not [x for x in told.splitlines() if x.startswith("GOOD") and "ERROR" in x]
        # What the shell says of a script that went wrong.
        assert ": line " not in told, told
    _, told = check("emergency_fix", "--dry-run", project=SMALL)
    assert "WOULD    the schema is at nothing instead of" in told


def test_a_suite_must_be_named_where_there_are_several(
    production: Production, small: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "LINKORA_LOCAL_DIR": str(tmp_path)}
    environment.pop("COMPOSE_PROJECT_NAME", None)
    done = subprocess.run(
        [ROOT / "monitoring/scripts/quick_check.sh", "--mode", "compose"], check=False, text=True,
        capture_output=True, timeout=60, env=environment,
    )  # fmt: skip
    assert done.returncode == 2
    assert "choose one with --project" in done.stderr
