# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the diagnostic scripts make of single answers, without a suite."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOOK = "docs/operations.md#"
START = "./emergency_fix.sh starts it; its log: ./run_local.sh logs --no-follow order-events"
SOURCES = "; ".join(f". monitoring/scripts/{name}.sh" for name in ("lib", "checks"))


def away(**reasons: str) -> dict[str, Any]:
    return {"status": "degraded", "details": {n: {"reason": r} for n, r in reasons.items()}}


def orders(**components: Any) -> dict[str, Any]:
    return {"overall_status": "unhealthy", "components": components, "status": "success"}


def said_of(service: str, body: dict[str, Any], tmp_path: Path) -> list[str]:
    """Return the lines that a 503 with this body leads to."""
    (tmp_path / "body").write_text(json.dumps(body, separators=(",", ":")))
    answer = f"fetch() {{ cat {tmp_path}/body > $BODY; echo 503 5; }}"
    script = f"{SOURCES}; MODE=local; {answer}; address() {{ echo http://x; }}; check_health "
    done = subprocess.run(
        ["bash", "-c", script + service], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("service", "body", "verdict", "step"),
    [
        ("order-events", away(chain="refused"), "WARNING|chain: refused", BOOK + "chain-away"),
        ("order-events", away(redis="refused"), "CRITICAL|redis: refused", BOOK + "redis-away"),
        ("order-events", away(database="gone"), "CRITICAL|database: gone", BOOK + "database-away"),
        (
            "order-events",
            away(chain="another chain") | {"scan": {"status": "ERROR"}},
            "CRITICAL|chain: another chain",
            BOOK + "scanner-error",
        ),
        (
            "api-server",
            away(redis="refused", live_data="silent"),
            "CRITICAL|redis: refused; live_data: silent",
            f"{BOOK}redis-away, {BOOK}live-data-away",
        ),
        ("data-collector", away(stream="x"), "CRITICAL|stream: x", BOOK + "stream-away"),
        (
            "order-api",
            orders(database="UNHEALTHY", database_error="Connect call failed"),
            "CRITICAL|database: Connect call failed",
            BOOK + "database-away",
        ),
        (
            "order-api",
            orders(redis_error="refused", problems=[]),
            "CRITICAL|redis: refused",
            BOOK + "redis-away",
        ),
        (
            "order-api",
            orders(event_processor="ACTIVE", problems=["no sign of life for 99 s"]),
            "CRITICAL|event processor: no sign of life for 99 s",
            START,
        ),
        (
            "order-api",
            orders(event_processor="ERROR", problems=["foreign", "3 dead letters"]),
            "CRITICAL|event processor: foreign, 3 dead letters",
            f"{BOOK}scanner-error, {BOOK}dead-letters",
        ),
        (
            "order-api",
            orders(event_processor="RECOVERY", problems=["not at the head for 99 s: refused"]),
            "WARNING|event processor: not at the head for 99 s: refused",
            BOOK + "chain-away",
        ),
    ],
)
def test_each_trouble_leads_to_its_own_paragraph(
    service: str, body: dict[str, Any], verdict: str, step: str, tmp_path: Path
) -> None:
    word, reasons = verdict.split("|")
    told = said_of(service, body, tmp_path)
    assert told == [f"{word} {service} not healthy: {reasons}", f"next: {step}"]


@pytest.mark.parametrize(
    ("row", "line", "step"),
    [
        ("ERROR|0|5|0|another chain", "CRITICAL chain the event processor holds: another chain",
         BOOK + "scanner-error"),
        ("ACTIVE|0|90|0|", "WARNING chain no sign of life of the event processor for 90 s", START),
        ("RECOVERY|0|5|0|refused", "WARNING chain cannot be followed: refused",
         BOOK + "chain-away"),
    ],
)  # fmt: skip
def test_what_the_event_processor_wrote_leads_to_its_own_paragraph(
    row: str, line: str, step: str
) -> None:
    ask = f"ask() {{ if [ $1 = chain ]; then answer='{row}'; else answer=0; fi; }}"
    done = subprocess.run(
        ["bash", "-c", f"{SOURCES}; MODE=local; {ask}; check_scanner"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    told = [" ".join(each.split()) for each in done.stdout.splitlines()]
    assert told[:2] == [line, f"next: {step}"]


@pytest.mark.parametrize(
    "name",
    ["quick_check", "full_diagnostics", "api_check", "data_check", "db_connections_check",
     "monitor_growth"],
)  # fmt: skip
def test_a_stopped_suite_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("export DB_PORT=1\n")
    done = subprocess.run(
        [f"monitoring/scripts/{name}.sh", "--mode", "local"],
        cwd=ROOT, env={**os.environ, "LINKORA_LOCAL_DIR": str(tmp_path)},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    lines = [" ".join(line.split()) for line in done.stdout.splitlines() if line]
    assert lines[1:] == [
        "CRITICAL suite the suite does not run",
        "next: ./emergency_fix.sh starts it",
        "summary: 0 good, 0 warnings, 1 critical - CRITICAL",
    ]
    assert done.returncode == 2
