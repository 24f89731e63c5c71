# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Every command in the documents is run by a test, or is on a list with the reason and a check."""

import re
import subprocess

import pytest
from documents.rules import LISTED, RUN, Listed, Run, rules_for

from testkit.documents import LANGUAGES, ROOT, Command, commands, documents, fences, hidden_commands

COMMANDS = commands()
SHELL = [c for c in COMMANDS if not c.text.startswith(("--", "SELECT", "UPDATE"))]


def listed() -> list[tuple[Command, Listed]]:
    known: dict[str, tuple[Command, Listed]] = {}
    for command in COMMANDS:
        for rule in rules_for(command):
            if isinstance(rule, Listed):
                known.setdefault(f"{command.folder}: {command.text}", (command, rule))
    return list(known.values())


def test_the_documents_are_full_of_commands():
    names = {path.name for path in documents()}
    assert {"README.md", "README.ru.md", "readme.md", "operations.md", "rest.md"} <= names
    assert len(COMMANDS) > 150
    assert len({command.document for command in COMMANDS}) > 12


def test_every_command_is_run_or_listed_once():
    unknown = {str(command): len(rules_for(command)) for command in COMMANDS}
    assert {place: rules for place, rules in unknown.items() if rules != 1} == {}


@pytest.mark.parametrize("rule", [*RUN, *LISTED], ids=lambda rule: rule.pattern)
def test_every_rule_is_needed(rule):
    assert any(rule in rules_for(command) for command in COMMANDS)


@pytest.mark.parametrize("rule", RUN, ids=lambda rule: rule.kind)
def test_the_test_that_runs_them_takes_them_from_the_documents(rule: Run):
    assert re.search(
        rf'(commands_of_kind\(COMMANDS, |texts\()"{rule.kind}"\)', (ROOT / rule.by).read_text()
    )


@pytest.mark.parametrize("rule", [r for r in LISTED if r.shown_by], ids=lambda rule: rule.pattern)
def test_the_test_that_does_the_same_is_there(rule: Listed):
    assert rule.shown_by is not None
    folder, text = rule.shown_by
    assert any(text in path.read_text() for path in (ROOT / folder).glob("*.py"))


@pytest.mark.parametrize(
    ("command", "rule"), listed(), ids=lambda value: getattr(value, "text", "")
)
def test_what_is_listed_names_files_options_and_services_that_are_there(command, rule):
    for look in rule.look:
        look(command)


@pytest.mark.parametrize("text", sorted({command.text for command in SHELL}))
def test_the_shell_can_read_it(text):
    done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_command_stands_in_a_block_without_a_language(path):
    assert hidden_commands(path) == []
    assert {language for _, language, _ in fences(path)} <= LANGUAGES


@pytest.mark.compose
def test_docker_knows_the_commands_that_are_named():
    for text in {c.text for c in COMMANDS if c.text.startswith("docker ")}:
        words = [word for word in text.split()[1:3] if word.isalpha()]
        done = subprocess.run(
            ["docker", *words, "--help"], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, f"{text}: {done.stderr}"
