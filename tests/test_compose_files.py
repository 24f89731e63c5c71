# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the Compose files and Dockerfiles promise, read from the files themselves."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_layout import INTERNAL, ROOMS, ROOT, settings_of, tracked_files, variables

FILES = ("docker-compose.yml", "docker-compose.demo.yml")
ONE_SHOT = {"migrate"}
PACKAGES = {
    "migrate": "schema",
    "data-collector": "collector",
    "api-server": "marketdata",
    "order-api": "orders",
    "order-events": "orders",
}
# The two order services share one settings class, and each uses its part.
OF_THE_OTHER = {
    "order-api": ("EVENTS_",),
    "order-events": ("ORDER_API_", "WEBSOCKET_", "CORS_", "RATE_LIMIT", "TRUSTED_PROXIES"),
}
# What docker-compose 1.29.2 refuses or silently ignores.
V2_ONLY = ("name", "include", "!reset", "!override", "develop", "attach", "start_interval")


@cache
def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return loaded


def services() -> list[Any]:
    """Return every service that a file defines (an addition to another file's is not one)."""
    return [
        pytest.param(name, service, id=name)
        for file in FILES
        for name, service in read(file)["services"].items()
        if "image" in service
    ]


def dockerfiles() -> list[Path]:
    return [path for path in tracked_files() if path.name == "Dockerfile"]


@pytest.mark.parametrize(("name", "service"), services())
def test_a_port_is_published_on_the_loopback_address_only(name: str, service: Any) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", [])), name


@pytest.mark.parametrize(("name", "service"), services())
def test_a_service_is_checked_and_its_logs_are_bounded(name: str, service: Any) -> None:
    assert ("healthcheck" in service) == (name not in ONE_SHOT)
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert "stop_grace_period" in service or name in ONE_SHOT


@pytest.mark.parametrize(("name", "service"), services())
def test_only_the_stores_have_a_fixed_container_name(name: str, service: Any) -> None:
    expected = {"timescaledb": "crypto_timescaledb", "redis": "crypto_redis"}.get(name)
    assert service.get("container_name") == expected


def test_the_stores_and_the_scaled_service_publish_nothing() -> None:
    found = read("docker-compose.yml")["services"]
    assert not any("ports" in found[name] for name in ("timescaledb", "redis", "api-server"))


@pytest.mark.parametrize("name", PACKAGES)
def test_every_setting_of_a_service_reaches_its_container(name: str) -> None:
    handed_on = read("docker-compose.yml")["services"][name]["environment"].keys()
    needed = variables(settings_of(PACKAGES[name])).keys() - INTERNAL
    if name in OF_THE_OTHER:
        needed -= {each for each in needed if each.startswith(OF_THE_OTHER[name])}
    assert needed - handed_on == set()


@pytest.mark.parametrize("name", FILES)
def test_docker_compose_1_29_2_understands_the_file(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not set(V2_ONLY) & read(name).keys()
    assert not [word for word in V2_ONLY[2:] if re.search(rf"^\s*{word}\b", text, re.MULTILINE)]
    assert not re.search(r"\$\{\w+(:-[^}]*\$\{|:?\+)", text), "nested default or ${V:+alt}"


def _default(image: str) -> str:
    """Return the image that is used where no variable names another."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]+)\}", r"\1", image)


def images() -> list[str]:
    named = [
        image
        for path in dockerfiles()
        for image in re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)
    ]
    named += [_default(service.values[1]["image"]) for service in services()]
    return sorted({image for image in named if not image.startswith("linkora/")})


@pytest.mark.parametrize("image", images())
def test_a_base_image_has_a_version(image: str) -> None:
    tag = image.partition(":")[2]
    assert re.match(r"v?\d+\.\d+", tag), "a tag with a version, such as 3.12.12-slim-bookworm"


@pytest.mark.parametrize("path", dockerfiles(), ids=lambda path: path.parent.name)
def test_an_image_runs_as_an_ordinary_user_and_builds_anywhere(path: Path) -> None:
    text = path.read_text()
    last_stage = text[text.rindex("\nFROM ") :]
    users = re.findall(r"^USER (\S+)", last_stage, re.MULTILINE)
    assert users
    assert users[-1] not in {"root", "0"}
    assert not re.search(r"^# syntax=|--mount=|<<", text, re.MULTILINE)


def test_every_room_that_runs_in_compose_has_an_image() -> None:
    rooms = {folder for package, folder in ROOMS.items() if package != "localrun"}
    assert rooms <= {str(path.parent.relative_to(ROOT)) for path in dockerfiles()}
