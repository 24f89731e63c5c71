# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the documents tell people to type: every command, with the place where it stands."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"", "bash", "console", "javascript", "json", "mermaid", "python", "yaml"}
PROMPT = "$ "

_INLINE = re.compile(r"`([^`]+)`")
_COMMENT = re.compile(r"(^|\s+)#\s.*$")
_INDENTED = re.compile(r"^ {4,}(\S.*)$")
# What a command begins with, after settings such as NAME=value.
_PROGRAM = re.compile(
    r"""([A-Z0-9_]+=\S+\s+)*
    ( (\.|alembic|cd|curl|docker|docker-compose|for|git|npm|npx|openssl|pip|prometheus|promtool
        |psql|pytest|python|redis-cli|kubectl|helm|SELECT|UPDATE|DELETE|INSERT)\s
    | --[a-z]
    | \./\w
    | \.venv/bin/
    | [\w/]+\.sh\b
    )""",
    re.VERBOSE,
)


class Command(msgspec.Struct, frozen=True, order=True):
    """One command of a document.

    Attributes:
        document: The document's path from the repository's root.
        line: Where it begins, counted from 1.
        text: What is typed, without prompt and comment.
        answer: What the document shows as its output; empty if nothing.
    """

    document: str
    line: int
    text: str
    answer: str = ""

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.text}"

    @property
    def folder(self) -> Path:
        """The folder of the document, from the repository's root."""
        return Path(self.document).parent


def documents() -> list[Path]:
    """Return README.md in each language, everything in docs/, and the readme of each part."""
    found = [*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")]
    parts = [*ROOT.glob("*/readme.md"), *ROOT.glob("demo/*/readme.md")]
    return sorted(found) + sorted(parts)


def fences(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line number, language and text of each block of code."""
    text = path.read_text()
    for match in FENCE.finditer(text):
        yield text.count("\n", 0, match.start(2)) + 1, match[1], match[2]


def commands() -> list[Command]:
    """Return every command of every document, in the documents' order."""
    return [command for path in documents() for command in commands_of(path)]


def commands_of(path: Path) -> list[Command]:
    """Return the commands of one document: in blocks, in indented lines, in the running text."""
    name = str(path.relative_to(ROOT))
    found = [
        Command(name, line, *rest)
        for first, language, block in fences(path)
        for line, *rest in _in_block(first, language, block)
    ]
    prose = FENCE.sub(lambda match: "\n" * match[0].count("\n"), path.read_text())
    for match in _INLINE.finditer(prose):
        text = " ".join(match[1].split())
        if _PROGRAM.match(text):
            found.append(Command(name, prose.count("\n", 0, match.start()) + 1, text))
    for number, line in enumerate(prose.splitlines(), 1):
        indented = _INDENTED.match(line)
        if indented and _PROGRAM.match(indented[1]):
            found.append(Command(name, number, indented[1]))
    return sorted(found)


def hidden_commands(path: Path) -> list[str]:
    """Return lines that look like commands but stand where nobody looks for them."""
    return [
        line
        for _, language, block in fences(path)
        if language == ""
        for line in block.splitlines()
        if _PROGRAM.match(line.strip())
    ]


def _in_block(first: int, language: str, block: str) -> Iterator[tuple[int, str, str]]:
    """Yield line number, command and answer of each command of a block."""
    lines = list(enumerate(block.splitlines(), first))
    if language == "bash":
        begun = ""
        for number, line in lines:
            begun += _COMMENT.sub("", line).strip()
            if begun.endswith("\\"):  # it goes on in the next line
                begun = begun.removesuffix("\\")
            elif begun:
                yield number, begun, ""
                begun = ""
    elif language in {"console", ""}:
        for index, (number, line) in enumerate(lines):
            if not line.startswith(PROMPT):
                continue
            below = [text for _, text in lines[index + 1 :]]
            end = next((i for i, text in enumerate(below) if text.startswith(PROMPT)), len(below))
            yield number, line.removeprefix(PROMPT).strip(), "\n".join(below[:end]).strip()
