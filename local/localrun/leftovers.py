# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Finds and ends processes that an earlier, killed run of this suite left behind.

They are known by two variables in their environment, never by name or by a number in a file.
"""

import contextlib
import os
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]

RUN_VARIABLE = "LOCAL_RUN_ID"
PROGRAM_VARIABLE = "LOCAL_RUN_PROGRAM"
TERM_WAIT_S = 15.0
KILL_WAIT_S = 5.0


def find_leftovers(run_id: str, program: str | None = None) -> Iterator[psutil.Process]:
    """Yield the processes of this suite, or of one of its programs, other than ourselves."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        try:
            environment = {} if process.pid in own else process.environ()
        except (psutil.Error, OSError):
            continue
        if environment.get(RUN_VARIABLE) != run_id:
            continue
        if program is None or environment.get(PROGRAM_VARIABLE) == program:
            yield process


def end_leftovers(run_id: str, program: str | None = None) -> int:
    """End them, by SIGTERM first and by SIGKILL after 15 s; return how many there were."""
    found = list(find_leftovers(run_id, program))
    for process in found:
        _signal(process, "terminate")
    _, alive = psutil.wait_procs(found, TERM_WAIT_S)
    for process in alive:
        _signal(process, "kill")
    psutil.wait_procs(alive, KILL_WAIT_S)
    return len(found)


def _signal(process: psutil.Process, way: str) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        getattr(process, way)()
