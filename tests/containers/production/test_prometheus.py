# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Prometheus of the profile ``monitoring``, brought up beside the production suite."""

import json
import re
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from testkit.production import ROOT, TIMEOUT_S, Production

TARGETS = {"data-collector": 1, "api-server": 2, "order-api": 2, "order-events": 1}
OF_METRICS = r"\b(?:collector|linkora_orders|http|websocket|database|relay|process)_[a-z_]+"

pytestmark = [pytest.mark.compose, pytest.mark.timeout(2 * TIMEOUT_S)]


class Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=10) as answer:
            told = json.loads(answer.read())
        assert told["status"] == "success"
        return told["data"]

    def up(self) -> Counter[str]:
        """Return how many targets of each job answer."""
        targets = self.ask("targets")["activeTargets"]
        return Counter(each["labels"]["job"] for each in targets if each["health"] == "up")

    def firing(self) -> set[str]:
        alerts = self.ask("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}


def until(holds: Callable[[], bool], seconds: float, tell: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, tell()
        time.sleep(1)


@pytest.fixture(scope="module")
def prometheus(production: Production) -> Iterator[Prometheus]:
    start = ("--profile", "monitoring", "up", "-d", "--no-build", "--no-recreate", "--wait")
    production.run(*start, "prometheus")
    try:
        yield Prometheus(f"http://127.0.0.1:{production.environment['PROMETHEUS_PORT']}")
    finally:
        production.run("--profile", "monitoring", "rm", "-sf", "prometheus")


def test_every_replica_is_a_target_that_answers(prometheus: Prometheus) -> None:
    until(lambda: prometheus.up() == TARGETS, 60, lambda: prometheus.ask("targets"))


def expressions() -> list[str]:
    dashboard = json.loads((ROOT / "monitoring/grafana/dashboards/linkora.json").read_text())
    shown = [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", [])]
    rules = yaml.safe_load((ROOT / "monitoring/prometheus/rules.yml").read_text())
    return [*shown, *(rule["expr"] for group in rules["groups"] for rule in group["rules"])]


@pytest.mark.parametrize("expression", expressions())
def test_prometheus_understands_what_dashboards_and_rules_ask(
    prometheus: Prometheus, expression: str
) -> None:
    prometheus.ask("query", query=expression)


def test_every_metric_that_is_asked_for_is_told_by_a_running_service(
    prometheus: Prometheus,
) -> None:
    named = {name for each in expressions() for name in re.findall(OF_METRICS, each)}
    assert len(named) > 15
    known = set(prometheus.ask("label/__name__/values"))
    # Told from the first failure on.
    assert named - known - {"collector_publish_failures_total"} == set()


def test_an_alert_fires_when_no_replica_answers_and_ends_when_one_does(
    production: Production, prometheus: Prometheus
) -> None:
    until(lambda: prometheus.up() == TARGETS, 60, lambda: prometheus.ask("targets"))
    loaded = {
        rule["name"] for group in prometheus.ask("rules")["groups"] for rule in group["rules"]
    }
    assert {"NoApiReplica", "CollectorSilent", "ServiceDown"} <= loaded
    assert "NoApiReplica" not in prometheus.firing()
    production.run("stop", "-t", "20", "api-server")
    until(lambda: "NoApiReplica" in prometheus.firing(), 120, lambda: prometheus.ask("alerts"))
    (alert,) = [
        each for each in prometheus.ask("alerts")["alerts"]
        if each["labels"]["alertname"] == "NoApiReplica"
    ]  # fmt: skip
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["runbook"] == "docs/operations.md#api-errors"
    production.run("start", "api-server")
    until(lambda: "NoApiReplica" not in prometheus.firing(), 90, lambda: prometheus.ask("alerts"))
