# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import hashlib
import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
MARK = "SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial"
SOURCES = {".py", ".sh", ".mjs", ".js", ".ts", ".sol", ".css", ".html", ".yml", ".yaml", ".conf"}
NAMED = {"Dockerfile"}
FIRST_LINES = 4
# The text as the Free Software Foundation publishes it, byte for byte.
AGPL_SHA256 = "8486a10c4393cee1c25392769ddd3b2d6c242d6ec7928e1414efff7dfb2f07ef"


def source_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [f for f in files if f.exists() and f.parent.name != "vendor" and is_source(f)]


def is_source(file: Path) -> bool:
    if file.suffix in SOURCES or file.name in NAMED:
        return True
    with file.open("rb") as opened:
        return opened.read(2) == b"#!"


def third_party() -> ModuleType:
    spec = importlib.util.spec_from_file_location("third_party", ROOT / ".ci/third_party.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed() -> dict[str, str]:
    lines = (ROOT / "THIRD_PARTY_LICENSES.md").read_text().splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| ")]
    return {row[1].strip(): row[2].strip() for row in rows}


def test_the_licence_is_the_unchanged_agpl() -> None:
    text = (ROOT / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == AGPL_SHA256


def test_every_source_file_names_both_licences_at_its_top() -> None:
    files = source_files()
    assert len(files) > 100
    without = [
        str(file.relative_to(ROOT))
        for file in files
        if not any(MARK in line for line in file.read_text().splitlines()[:FIRST_LINES])
    ]
    assert without == []


def test_every_pinned_package_is_listed_with_the_licence_it_names_itself() -> None:
    tool, rows = third_party(), listed()
    for name in tool.pins():
        assert name in rows, f"{name}: run .ci/third_party.py"
        said = tool.python_licence(name)
        assert said is None or rows[name] == said


def test_every_npm_package_is_listed() -> None:
    rows = listed()
    for name, licence in third_party().npm_licences().items():
        assert rows.get(name) == licence


@pytest.mark.parametrize("word", ["?", "UNKNOWN", ""])
def test_no_licence_is_unknown(word: str) -> None:
    assert word not in listed().values()
