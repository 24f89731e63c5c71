# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What can be checked of a command that is not run: files, options, services are there."""

import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from testkit.documents import ROOT, Command

HELP_TIMEOUT_S = 30
DIAGNOSTICS = ROOT / "monitoring" / "scripts"  # setup_monitoring.sh links them into the root
OPTIONS_OF_UP = {"-d", "--detach", "--scale", "--build", "--wait"}
OPTIONS_OF_DOWN = {"-v", "--volumes"}
GLOBAL_OPTIONS = {"-f", "-p", "--profile"}
DOCKER_COMMANDS = {"compose", "exec", "image", "inspect", "restart"}


def files(command: Command) -> None:
    """Every file or folder that it names with a suffix or a slash is there."""
    named = re.findall(r"[\w.-]+(?:/[\w.-]+)+|[\w-]+\.(?:txt|yml|sh|py)\b", command.text)
    for name in named:
        if not name.startswith((".venv/", ".local/")) and not re.match(r"[\d.]+$", name):
            assert (ROOT / name).exists(), f"{command}: {name}"


def script(command: Command) -> None:
    """Every script it names is there, can be started, parses, and knows the options."""
    for part in command.text.split("&&"):
        words = part.split()
        if not words[0].endswith(".sh"):
            assert words[0] == "git", command
            continue
        found = _script(command, words[0])
        assert os.access(found, os.X_OK), f"{found} cannot be started"
        done = subprocess.run(["bash", "-n", found], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for option in re.findall(r"--[a-z-]+", part):
            if found.name != "run_local.sh":
                assert option in found.read_text(), f"{command}: {option}"


def _script(command: Command, name: str) -> Path:
    places = [ROOT / name, ROOT / command.folder / name, DIAGNOSTICS / Path(name).name]
    places += (ROOT / command.folder).glob(f"*/{name}")
    found = [place for place in places if place.is_file()]
    assert found, f"{command}: there is no {name}"
    return found[0]


def local_options(command: Command) -> None:
    """Options and words after ``run_local.sh`` are in its ``--help``."""
    folders = ("local", "common", "data-collector", "demo/chain")
    told = _told("local/main.py", ROOT, ":".join(str(ROOT / each) for each in folders))
    words = [word for word in shlex.split(command.text) if not word.endswith("run_local.sh")]
    for word in words:
        for value in word.split("|"):
            assert value.isdigit() or re.search(rf"(?<![\w-]){re.escape(value)}\b", told), command


def exchange_options(command: Command) -> None:
    """Its options are in the exchange simulator's ``--help``; ``--name`` stands for any."""
    told = _told("main.py", ROOT / "demo" / "exchange", "")
    for option in re.findall(r"--[a-z-]+", command.text):
        assert option == "--name" or f"{option} " in told, command


@cache
def _told(program: str, folder: Path, modules: str) -> str:
    done = subprocess.run(
        [sys.executable, program, "--help"], cwd=folder, env={**os.environ, "PYTHONPATH": modules},
        text=True, capture_output=True, timeout=HELP_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def requirements(command: Command) -> None:
    """The requirement files are there, and all that they ask for has its one version."""
    words = shlex.split(command.text)
    pinned = {
        re.split(r"[=\s;\[]", line)[0].lower().replace("_", "-")
        for line in (ROOT / words[words.index("-c") + 1]).read_text().splitlines()
    }
    asked = _asked(ROOT / words[words.index("-r") + 1])
    assert asked, command
    assert {name for name in asked if name not in pinned} == set(), command


def _asked(path: Path) -> list[str]:
    names: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            names += _asked(path.parent / line.removeprefix("-r ").strip())
        elif line.startswith("./"):
            assert (ROOT / line.strip() / "pyproject.toml").exists(), line
        elif line and not line.startswith("#"):
            names.append(re.split(r"[=\s;\[]", line)[0].lower().replace("_", "-"))
    return names


def npm_script(command: Command) -> None:
    """The folder's package.json has the script."""
    match = re.search(r"npm run (\w+)", command.text)
    assert match is not None
    package = json.loads((ROOT / command.folder / "package.json").read_text())
    assert match[1] in package["scripts"], command


def compose(command: Command) -> None:
    """Files, services, profiles and options of a ``docker compose`` command are there."""
    words = shlex.split(command.text.replace("docker compose", "").replace("...", ""))
    names = [words[i + 1] for i, word in enumerate(words) if word == "-f"]
    merged = _compose_files(names or ["docker-compose.yml"])
    services: dict[str, Any] = merged["services"]
    profiles = {profile for service in services.values() for profile in service.get("profiles", ())}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--scale":
            service, count = following.split("=")
            assert service in services, command
            assert "container_name" not in services[service], f"{service} cannot be scaled"
            assert int(count) >= 1
        elif word == "--profile":
            assert following in profiles, command
        elif word == "exec":
            assert following in services, command
        elif word.startswith("-"):
            assert word in GLOBAL_OPTIONS | OPTIONS_OF_UP | OPTIONS_OF_DOWN, command


def _compose_files(names: list[str]) -> dict[str, Any]:
    services: dict[str, Any] = {}
    for name in names:
        for service, settings in yaml.safe_load((ROOT / name).read_text())["services"].items():
            services[service] = {**services.get(service, {}), **settings}
    return {"services": services}


def container(command: Command) -> None:
    """The container has that fixed name, and the user and database are the default ones."""
    services = _compose_files(["docker-compose.yml"])["services"]
    name = next(word for word in command.text.split() if word.startswith("crypto_"))
    by_name = {service.get("container_name"): service for service in services.values()}
    assert name in by_name, command
    if "psql" in command.text:
        user, database = command.text.split("-U ")[1].split()
        environment = by_name[name]["environment"]
        assert environment["POSTGRES_USER"] == f"${{DB_USER:-{user}}}"
        assert environment["POSTGRES_DB"] == f"${{DB_NAME:-{database}}}"


def docker_knows(command: Command) -> None:
    """Docker has a command of that name."""
    assert command.text.split()[1] in DOCKER_COMMANDS, command


def gateway_can_reload(command: Command) -> None:
    """The script that is run inside the gateway is mounted there and takes that word."""
    path, word = command.text.split()[-2:]
    gateway = _compose_files(["docker-compose.prod.yml"])["services"]["gateway"]
    assert any(":/production" in volume for volume in gateway["volumes"]), command
    source = ROOT / "production" / "gateway" / Path(path).name
    assert f'"${{1:-}}" = {word}' in source.read_text()


def manifests(command: Command) -> None:
    """Objects, namespace and secrets that it names are in the manifests for Kubernetes."""
    objects = [
        found
        for path in (ROOT / "production" / "kubernetes").glob("*.yaml")
        for found in yaml.safe_load_all(path.read_text())
        if found
    ]
    named = {(found["kind"].lower(), found.get("metadata", {}).get("name")) for found in objects}
    words = command.text.split()
    if "-n" in words:
        assert ("namespace", words[words.index("-n") + 1]) in named, command
    for kind, name in re.findall(r"\b(deployment|job|namespace)[/ ]([\w-]+)", command.text):
        assert (kind, name) in named, command
    for name in re.findall(r"create secret \w+ ([\w-]+)", command.text):
        text = "".join(str(found) for found in objects)
        assert f"'{name}'" in text, command
    for folder in re.findall(r"production/[\w/-]+", command.text):
        assert (ROOT / folder).is_dir(), command
