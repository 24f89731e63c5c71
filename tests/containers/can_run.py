# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Tells whether the Compose smoke test can run here: exit 0, or 1 and the reason on one line."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 20
# Ours are built; nothing is asked of Grafana but to read our files.
NOT_NEEDED = ("linkora/", "grafana/")


def base_images() -> set[str]:
    """Return the public images that the Compose files and Dockerfiles name."""
    named: set[str] = set()
    for dockerfile in ROOT.glob("**/Dockerfile"):
        if "node_modules" not in dockerfile.parts:
            named |= set(re.findall(r"^FROM (\S+)", dockerfile.read_text(), re.MULTILINE))
    for compose in ROOT.glob("docker-compose*.yml"):
        named |= set(re.findall(r"^ +image: (\S+)", compose.read_text(), re.MULTILINE))
    named = {re.sub(r"^\$\{\w+:-(.+)\}$", r"\1", image) for image in named}
    return {image for image in named if not image.startswith(NOT_NEEDED)}


def obstacle() -> str:
    """Return what stands in the way, or an empty string."""
    if shutil.which("docker") is None:
        return "Docker is not installed"
    if not compose_commands():
        return "neither `docker compose` nor `docker-compose` is installed"
    if not _succeeds("docker", "info"):
        return "Docker is not available (its daemon does not answer)"
    missing = [image for image in sorted(base_images()) if not _has(image)]
    return f"base images are not on this machine: {', '.join(missing)}" if missing else ""


def compose_commands() -> list[list[str]]:
    """Return the ways to call Compose that work here, v2 first."""
    ways = [["docker", "compose"], ["docker-compose"]]
    return [way for way in ways if shutil.which(way[0]) and _succeeds(*way, "version")]


def _has(image: str) -> bool:
    return _succeeds("docker", "image", "inspect", image)


def _succeeds(*command: str) -> bool:
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    if problem := obstacle():
        sys.stdout.write(problem + "\n")
        sys.exit(1)
