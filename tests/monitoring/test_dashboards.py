# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The dashboard as Grafana reads it: places, data sources, and where it is provisioned from."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "monitoring/grafana"
WIDTH = 24  # Grafana's grid


def dashboard() -> Any:
    return json.loads((FOLDER / "dashboards/linkora.json").read_text())


def provisioned(kind: str, key: str) -> list[Any]:
    (file,) = (FOLDER / "provisioning" / kind).glob("*.yml")
    found: list[Any] = yaml.safe_load(file.read_text())[key]
    return found


def test_panels_have_numbers_of_their_own_and_lie_side_by_side() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: Counter[tuple[int, int]] = Counter()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= WIDTH, panel["title"]
        taken.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
    assert max(taken.values()) == 1, "two panels lie on each other"


def test_every_question_is_put_to_the_source_that_is_provisioned() -> None:
    (source,) = provisioned("datasources", "datasources")
    assert source["type"] == "prometheus"
    for panel in dashboard()["panels"]:
        targets = panel.get("targets", [])
        assert panel["type"] == "alertlist" or targets
        if targets:
            assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
        names = [target["refId"] for target in targets]
        assert len(set(names)) == len(names)
        assert all(target["expr"].strip() for target in targets)


def test_compose_mounts_what_is_provisioned_where_grafana_looks_for_it() -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = dict(volume.split(":")[:2] for volume in service["grafana"]["volumes"])
    (provider,) = provisioned("dashboards", "providers")
    assert mounts["./monitoring/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./monitoring/grafana/provisioning"] == "/etc/grafana/provisioning"
    (source,) = provisioned("datasources", "datasources")
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in service
