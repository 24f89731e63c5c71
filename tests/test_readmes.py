# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The readme in Russian says what the one in English says: same parts, commands, tables, links."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("README.md", "README.ru.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"\s+#\s.*$", re.MULTILINE)


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def prose_of(name: str) -> str:
    return FENCE.sub("", text_of(name))


def both(part):
    return [part(name) for name in LANGUAGES]


def test_both_have_the_same_headings_at_the_same_levels():
    english, russian = both(lambda name: re.findall(r"^(#+) ", prose_of(name), re.MULTILINE))
    assert english == russian
    assert len(english) > 8


def test_both_have_the_same_commands_and_code():
    """Comments may be translated, and the words in a picture; nothing else."""

    def code(name: str) -> list[tuple[str, str]]:
        return [(kind, COMMENT.sub("", block)) for kind, block in FENCE.findall(text_of(name))]

    english, russian = both(code)
    assert [kind for kind, _ in english] == [kind for kind, _ in russian]
    for (kind, ours), (_, theirs) in zip(english, russian, strict=True):
        assert ours == theirs, kind


def test_both_link_to_the_same_places_in_the_same_order():
    english, russian = both(lambda name: re.findall(r"\]\(([^)]+)\)", prose_of(name)))
    assert english == russian
    assert len(english) > 10


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_file_that_is_linked_to_is_there(name):
    for target in re.findall(r"\]\(([^)]+)\)", prose_of(name)):
        if not target.startswith(("http", "#")):
            assert (ROOT / target).exists(), target


def test_both_have_the_same_rows_in_their_tables():
    """The first cells are names of things and stay as they are."""
    english, russian = both(
        lambda name: re.findall(r"^\| ([^|]*) \|", prose_of(name), re.MULTILINE)
    )
    named = [(ours, theirs) for ours, theirs in zip(english, russian, strict=True) if "`" in ours]
    assert len(named) > 12
    for ours, theirs in named:
        assert re.findall(r"`[^`]+`", ours) == re.findall(r"`[^`]+`", theirs)


def test_both_name_the_same_things():
    """Commands, settings and files in the running text; each as often in one as in the other."""

    def names(name: str) -> list[str]:
        return sorted(re.findall(r"`([^`\n]+)`", prose_of(name).replace("\n", " ")))

    english, russian = both(names)
    assert english == russian


def test_the_paragraphs_and_list_items_are_as_many():
    def parts(name: str) -> list[str]:
        blocks = [block.strip() for block in re.split(r"\n\s*\n", prose_of(name)) if block.strip()]
        return [block[0] if block[0] in "#|-!" else "text" for block in blocks]

    english, russian = both(parts)
    assert english == russian
    items = both(lambda name: len(re.findall(r"^- ", prose_of(name), re.MULTILINE)))
    assert items[0] == items[1]
