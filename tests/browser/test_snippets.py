# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The JavaScript and Python of the documents, on the running product."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from testkit.documents import fences
from testkit.here import at_this_run

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")])
TIMEOUT_S = 20

pytestmark = pytest.mark.asyncio(loop_scope="package")


def blocks(language: str) -> list[tuple[str, str]]:
    """Return place and text; what both languages of the readme have comes once."""
    found = {
        text: f"{path.name}:{line}"
        for path in DOCUMENTS
        for line, kind, text in fences(path)
        if kind == language
    }
    return [(place, text) for text, place in found.items()]


async def output_of(*command: str, cwd: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(TIMEOUT_S):
        told, trouble = await process.communicate()
    assert process.returncode is not None
    return process.returncode, told.decode(errors="replace") + trouble.decode()


async def test_the_documents_have_snippets():
    assert len(DOCUMENTS) >= 4
    assert len(blocks("javascript")) >= 2


@pytest.mark.parametrize(("place", "snippet"), blocks("javascript"))
async def test_every_javascript_snippet_prints_what_it_hears(product, tmp_path, place, snippet):
    (tmp_path / "snippet.mjs").write_text(at_this_run(snippet, product))
    process = await asyncio.create_subprocess_exec(
        "node", "--experimental-websocket", "snippet.mjs", cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            line = await process.stdout.readline()
    finally:
        process.kill()
        _, trouble = await process.communicate()
    assert line, f"{place}: {trouble.decode()}"


@pytest.mark.parametrize(("place", "snippet"), blocks("python"))
async def test_every_python_snippet_runs(product, tmp_path, place, snippet):
    (tmp_path / "snippet.py").write_text(at_this_run(snippet, product))
    code, told = await output_of(sys.executable, "snippet.py", cwd=tmp_path)
    assert code == 0, f"{place}: {told}"
    assert told, place
