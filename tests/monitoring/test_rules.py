# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Prometheus' own tool checks the rules; the metrics that they name must be ours."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "monitoring/prometheus"
OF_THE_LIBRARY = {"process_cpu_seconds_total", "process_resident_memory_bytes"}


def promtool(*arguments: str) -> str:
    """Run the tool that is installed, else the one in Prometheus' image."""
    command = ["promtool"]
    if shutil.which("promtool") is None:
        listed = subprocess.run(
            ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "prom/prometheus"],
            check=True, capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        image = listed.stdout.split()[0] if listed.stdout.split() else "prom/prometheus"
        command = [
            *("docker", "run", "--rm", "-v", f"{FOLDER}:{FOLDER}:ro", "-w", str(FOLDER)),
            *("--entrypoint", "promtool", image),
        ]
    done = subprocess.run(
        [*command, *arguments], cwd=FOLDER, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> list[dict[str, object]]:
    (group,) = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    found: list[dict[str, object]] = group["rules"]
    return found


@pytest.mark.compose
def test_every_rule_fires_when_it_should_and_is_quiet_when_all_is_well() -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules.test.yml")


@pytest.mark.compose
@pytest.mark.parametrize("file", ["prometheus.yml", "local.yml"])
def test_prometheus_takes_the_configuration(file: str) -> None:
    assert "SUCCESS" in promtool("check", "config", file)


def test_every_rule_has_a_test_in_which_it_fires() -> None:
    tests = yaml.safe_load((FOLDER / "rules.test.yml").read_text())["tests"]
    fires = {
        check["alertname"]
        for test in tests
        for check in test["alert_rule_test"]
        if check.get("exp_alerts")
    }
    assert fires == {rule["alert"] for rule in rules()}


def expressions() -> list[str]:
    dashboard = json.loads((ROOT / "monitoring/grafana/dashboards/linkora.json").read_text())
    shown = [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", [])]
    return [*shown, *(str(rule["expr"]) for rule in rules())]


def test_rules_and_dashboards_name_only_metrics_that_a_service_has() -> None:
    sources = "".join(
        path.read_text()
        for folder in ("common", "data-collector", "api-server", "order_system")
        for path in (ROOT / folder).rglob("*.py")
        if "tests" not in path.parts
    )
    # Names of metrics have a service's prefix; what is left are functions and labels.
    pattern = r"\b(?:collector|linkora_orders|http|websocket|database|relay|process)_[a-z_]+"
    named = {name for text in expressions() for name in re.findall(pattern, text)}
    assert len(named) > 15
    unknown = {
        name
        for name in named - OF_THE_LIBRARY
        if f'"{re.sub("_(total|bucket|count|sum)$", "", name)}"' not in sources
        and f'gauge("{name.removeprefix("linkora_orders_")}"' not in sources
    }
    assert unknown == set()
