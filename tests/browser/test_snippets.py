# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the documents tell people to type does what they say, on the running product."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 20

pytestmark = pytest.mark.asyncio(loop_scope="package")


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (f"{path.name}:{text[: match.start()].count(chr(10)) + 1}", match[2])
        for path in DOCUMENTS
        for text in [path.read_text()]
        for match in FENCE.finditer(text)
        if match[1] == language
    ]


def curls() -> list[tuple[str, str]]:
    """Every command that begins with curl, prompts left out."""
    return [
        (place, command)
        for language in ("bash", "console")
        for place, block in blocks(language)
        for line in block.splitlines()
        if (command := line.removeprefix("$ ").strip()).startswith("curl ")
    ]


def here(text: str, product) -> str:
    """The same with the addresses of this run."""
    for port, url in (
        (8022, product.api.url),
        (8080, product.order_api.url),
        (8081, product.order_events.url),
        (8023, product.collector.url),
    ):
        text = re.sub(rf"(http|ws)?(://)?(localhost|127\.0\.0\.1):{port}", _at(url), text)
    return text


def _at(url: str):
    return lambda match: url.replace("http", "ws", 1) if match[1] == "ws" else url


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
    assert len(curls()) >= 25
    assert len(blocks("javascript")) >= 2


async def test_every_curl_command_gets_an_answer(product, tmp_path):
    await product.chain.create()  # order number 1
    there = ("curl", "-sf", "--retry", "20", "--retry-delay", "1", "--retry-all-errors")
    assert (await output_of(*there, f"{product.order_api.url}/orders/1", cwd=tmp_path))[0] == 0
    for place, command in curls():
        asked = here(command, product).replace("curl ", "curl -sS --fail --max-time 10 ", 1)
        code, told = await output_of("bash", "-c", asked, cwd=tmp_path)
        assert code == 0, f"{place}: {command}: {told}"
        assert told or list(tmp_path.iterdir()), f"{place}: {command}: empty"


@pytest.mark.parametrize(("place", "snippet"), blocks("javascript"))
async def test_every_javascript_snippet_prints_what_it_hears(product, tmp_path, place, snippet):
    (tmp_path / "snippet.mjs").write_text(here(snippet, product))
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
    (tmp_path / "snippet.py").write_text(here(snippet, product))
    code, told = await output_of(sys.executable, "snippet.py", cwd=tmp_path)
    assert code == 0, f"{place}: {told}"
    assert told, place
