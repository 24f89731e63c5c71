# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Asks the programs how they are, and waits until all are well."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localrun.errors import StartError
from localrun.layout import Layout
from localrun.plan import Program

ANSWER_TIMEOUT_S = 3.0
POLL_INTERVAL_S = 0.25
# A program that the supervisor had to start so often before it was ever well will not do.
MAX_STARTS = 3
LOG_LINES_SHOWN = 15
LOG_WIDTH_SHOWN = 500
_CHAIN_ID = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}'


def ask(program: Program) -> str:
    """Return what is wrong with a program, or an empty string."""
    request = urllib.request.Request(program.health_url)  # noqa: S310 - our own http URL
    if program.name == "chain":
        request.data = _CHAIN_ID
        request.add_header("content-type", "application/json")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_TIMEOUT_S) as answer:
            if answer.status != 200:
                return f"HTTP {answer.status}"
            return _unseen_chain(answer.read()) if program.name == "order-events" else ""
    except urllib.error.HTTPError as error:
        return _explain(error)
    except OSError as error:
        return f"does not answer ({getattr(error, 'reason', error)})"


def wait_until_healthy(
    programs: Sequence[Program],
    processes: Callable[[], list[dict[str, Any]]],
    layout: Layout,
    timeout_s: float,
) -> dict[str, str]:
    """Return what is wrong, by program name, once nothing is or the time is over.

    Raises:
        StartError: If a program ends again and again; the message has its last lines.
    """
    deadline = time.monotonic() + timeout_s
    starts: dict[str, set[int]] = {program.name: set() for program in programs}
    well: set[str] = set()
    while True:
        wrong = {p.name: problem for p in programs if (problem := ask(p))}
        well |= starts.keys() - wrong.keys()
        if not wrong or time.monotonic() > deadline:
            return wrong
        for process in processes():
            name, started = str(process["name"]), int(process["start"])
            if name in starts and started:
                starts[name].add(started)
                if len(starts[name]) >= MAX_STARTS and name not in well:
                    raise StartError(f"{name} does not start:\n{last_lines(layout, name)}")
        time.sleep(POLL_INTERVAL_S)


def last_lines(layout: Layout, program: str) -> str:
    """Return the end of a program's log, indented."""
    path = layout.log(program)
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return "\n".join(f"    {line[:LOG_WIDTH_SHOWN]}" for line in lines[-LOG_LINES_SHOWN:])


def _unseen_chain(body: bytes) -> str:
    """Return that the event processor, healthy so far, has not heard of its chain at all."""
    try:
        report: Mapping[str, Any] = json.loads(body)
        is_seen = "chain" in report or bool(report["scan"]["head_block"])
    except (ValueError, KeyError, TypeError):
        return "its /health has not the form that is known"
    return "" if is_seen else "no provider of WEB3_PROVIDER has answered yet"


def _explain(error: urllib.error.HTTPError) -> str:
    """Return the reasons out of a ``/health`` answer of ours."""
    try:
        body: Mapping[str, Any] = json.loads(error.read())
        reasons = [f"{name}: {about['reason']}" for name, about in body["details"].items()]
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        reasons = []
    return "; ".join(reasons) or f"HTTP {error.code}"
