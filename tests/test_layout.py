# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The rules of the house that no linter knows: where things are, and what is said once only."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[1]
# Folder of each package, which holds its main.py, requirements.txt and tests.
ROOMS = {
    "collector": "data-collector",
    "marketdata": "api-server",
    "orders": "order_system",
    "schema": "migrations",
    "simulator": "demo/exchange",
    "localchain": "demo/chain",
    "localrun": "local",
}
SERVICES = ("collector", "marketdata", "orders")
# Import name -> distribution, where they differ.
DISTRIBUTIONS = {
    "dotenv": "python_dotenv",
    "eth_hash": "eth_hash",
    "Crypto": "pycryptodome",
    "sqlalchemy": "sqlalchemy",
}


@cache
def tracked_files() -> tuple[Path, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(path for name in listed.splitlines() if (path := ROOT / name).is_file())


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def modules_of(package: str) -> Iterator[tuple[Path, ast.Module]]:
    folder = ROOT / "common" if package == "linkora" else ROOT / ROOMS[package]
    for path in sorted((folder / package).rglob("*.py")):
        yield path, ast.parse(path.read_text())


def test_every_main_has_at_most_ten_lines() -> None:
    long = {
        named(path): count
        for path in tracked_files()
        if path.name == "main.py" and (count := len(path.read_text().splitlines())) > 10
    }
    assert not long


def test_no_file_names_a_package_registry() -> None:
    # Put together here, so that this file does not name them either.
    hosts = [
        ".".join(parts)
        for parts in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("registry", "npmjs"),
            ("npmjs", "org"),
            ("deb", "debian"),
            ("yarnpkg", "com"),
        )
    ]
    naming = []
    for path in tracked_files():
        text = path.read_bytes().decode(errors="replace")
        naming += [f"{named(path)}: {host}" for host in hosts if host in text]
    assert not naming


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    entries = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {normalised(name): version for name, _, version in entries}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def required(path: Path) -> set[str]:
    names = set()
    for line in path.read_text().splitlines():
        name = re.match(r"[A-Za-z0-9._-]+", line.partition("#")[0].strip())
        if name and not line.startswith((".", "-")):
            names.add(normalised(name.group()))
    return names


def test_every_library_has_an_exact_version() -> None:
    versions = pinned()
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in versions.values())
    files = [path for path in tracked_files() if path.name.startswith("requirements")]
    loose = {named(f): missing for f in files if (missing := required(f) - versions.keys())}
    assert not loose


@pytest.mark.parametrize("package", ROOMS)
def test_a_folder_requires_every_library_that_its_package_imports(package: str) -> None:
    known = required(ROOT / ROOMS[package] / "requirements.txt")
    own = {"linkora", package}
    if package == "localrun":
        own |= {"collector", "localchain"}
    missing = set()
    for path, module in modules_of(package):
        if path.name == "testing.py":
            continue
        for name in imported(module):
            distribution = normalised(DISTRIBUTIONS.get(name, name))
            if name not in own | sys.stdlib_module_names and distribution not in known:
                missing.add(f"{named(path)}: {name}")
    if package == "localrun":
        missing = {entry for entry in missing if not entry.endswith(": msgspec")}
    assert not missing


def imported(module: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", ["linkora", *SERVICES])
def test_only_settings_read_the_environment(package: str) -> None:
    reading = [
        f"{named(path)}:{node.lineno}"
        for path, module in modules_of(package)
        if path.stem != "settings"
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert not reading


def words(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the strings of a module other than docstrings and annotations."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield node.lineno, node.value


SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM)\b", re.DOTALL
)


@pytest.mark.parametrize("package", ["linkora", *SERVICES])
def test_sql_lives_in_stores_and_queries_only(package: str) -> None:
    elsewhere = [
        f"{named(path)}:{line}"
        for path, module in modules_of(package)
        if not (path.stem == "queries" or path.stem.endswith(("_store", "_sql", "sql")))
        for line, text in words(module)
        if SQL.search(text)
    ]
    assert not elsewhere


CHANNEL = re.compile(r"(candles|orderbook|orders|trades|oracle):(all|\{|$)")


@pytest.mark.parametrize("package", ["linkora", *SERVICES])
def test_only_one_module_spells_a_channel(package: str) -> None:
    elsewhere = [
        f"{named(path)}:{line}"
        for path, module in modules_of(package)
        if path.name != "channels.py"
        for line, text in words(module)
        if CHANNEL.match(text)
    ]
    assert not elsewhere


def test_every_tool_knows_every_package() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    packages = {"linkora", *ROOMS}
    assert packages <= set(tools["mypy"]["packages"])
    assert packages <= set(tools["ruff"]["lint"]["isort"]["known-first-party"])
    assert packages == set(tools["importlinter"]["root_packages"])
    folders = {"common", *ROOMS.values(), "tests"}
    assert folders <= set(tools["pytest"]["ini_options"]["pythonpath"])
    assert folders <= set(tools["mypy"]["mypy_path"].split(":"))


def test_pytest_looks_everywhere_where_tests_are() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    looked_at = [ROOT / folder for folder in tools["pytest"]["ini_options"]["testpaths"]]
    unseen = [
        named(path)
        for path in tracked_files()
        if re.fullmatch(r"test_.*\.py", path.name)
        and not any(path.is_relative_to(folder) for folder in looked_at)
    ]
    assert not unseen


def settings_of(package: str) -> type[BaseSettings]:
    found: type[BaseSettings] = importlib.import_module(f"{package}.settings").Settings
    return found


def variables(settings: type[BaseSettings]) -> dict[str, object]:
    """Return the variables that a settings class reads, with their defaults."""
    found: dict[str, object] = {}
    for name, field in settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseSettings):
            found |= variables(section)
            continue
        alias = field.validation_alias
        variable = alias if isinstance(alias, str) else settings.model_config["env_prefix"] + name
        found[variable.upper()] = field.default
    return found


# What a program sets for its own children; nobody else does.
INTERNAL = {"API_WORKER", "API_WORKER_SOCKET", "API_WORKER_FOLDER", "API_WORKER_PARENT"}


def read_by_programs() -> dict[str, object]:
    every: dict[str, object] = {}
    for package in ROOMS:
        if package == "simulator":
            # A tool that needs neither database nor Redis.
            own = variables(settings_of(package))
            every |= {name: own[name] for name in own if name.startswith("EXCHANGE_")}
        elif package != "localrun":
            every |= variables(settings_of(package))
    return {name: default for name, default in every.items() if name not in INTERNAL}


def examples() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(m.groups() for line in lines if (m := re.fullmatch(r"#?([A-Z0-9_]+)=(.*)", line)))


def test_the_example_environment_has_every_variable_and_no_other() -> None:
    texts = [path.read_text() for path in ROOT.glob("docker-compose*.yml")]
    texts += [(ROOT / "local/localrun/settings.py").read_text()]
    by_deployment = {name for text in texts for name in re.findall(r"\$\{([A-Z0-9_]+)", text)}
    by_deployment |= {"LINKORA_LOCAL_DIR"} & set(re.findall(r"LINKORA_\w+", texts[-1]))
    expected = read_by_programs().keys() | by_deployment
    assert examples().keys() - expected == set()
    assert expected - examples().keys() == set()


def test_the_example_environment_changes_nothing() -> None:
    """Copied as it is, it leaves every default as it is."""
    assert not [
        line
        for line in (ROOT / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    ]


@pytest.mark.parametrize("name", sorted(read_by_programs()))
def test_the_example_environment_gives_the_true_default(name: str) -> None:
    shared = {"DB_PASSWORD", "REDIS_PASSWORD", "LOG_LEVEL", "START_DATE", "REQUEST_TIMEOUT_S"}
    if name in shared:
        assert name in examples()
        return
    default, shown = read_by_programs()[name], examples()[name]
    if default is None or default in ("", ()):
        assert shown == ""
    elif isinstance(default, tuple):
        assert shown == ",".join(default)
    elif isinstance(default, bool):
        assert shown == str(default).lower()
    elif isinstance(default, int | float):
        assert float(shown) == default
    else:
        assert shown == str(default)
