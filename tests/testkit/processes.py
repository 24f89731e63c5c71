# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Server processes that belong to this test run and die with it."""

import contextlib
import ctypes
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
_PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def unprivileged_user() -> str | None:
    """Return the user that servers run as when we are root (PostgreSQL refuses root)."""
    return pwd.getpwnam("nobody").pw_name if os.geteuid() == 0 else None


class ServerProcess:
    """One server on a fixed port of 127.0.0.1 that a test can stop, kill, freeze and start again.

    Args:
        command: Program and arguments.
        log_file: Where its output goes.
        is_ready: Tells whether it answers; asked again and again after a start.
        stop_signal: What ends it cleanly.
        user: Name of the system user it runs as, ``None`` for ours.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log_file: Path,
        is_ready: Callable[[], bool],
        stop_signal: signal.Signals,
        user: str | None = None,
    ) -> None:
        self._command = [str(part) for part in command]
        self._log_file = log_file
        self._is_ready = is_ready
        self._stop_signal = stop_signal
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers; does nothing while it runs.

        Raises:
            RuntimeError: If it ended or did not answer in time; the text carries its log.
        """
        if self._process is not None:
            return
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                preexec_fn=_die_with_parent(self._stop_signal),  # noqa: PLW1509 - prctl only
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                log_end = self._log_file.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{self._command[0]} did not start:\n{log_end}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it cleanly and wait until it is gone."""
        if self._process is None:
            return
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it and its children by SIGKILL, as a power cut would."""
        if self._process is None:
            return
        family = self._family()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(STOP_TIMEOUT_S)
        # Children that are still going hold shared memory, which a new start would trip over.
        psutil.wait_procs(family, STOP_TIMEOUT_S)
        self._process = None

    def freeze(self) -> None:
        """Let it hang: connections stay open, nothing answers."""
        for process in self._family():
            process.suspend()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        for process in self._family():
            process.resume()

    def _family(self) -> list[psutil.Process]:
        assert self._process is not None, "the server does not run"
        try:
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what makes a child end when this process is killed (Linux: prctl(2))."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def set_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))

    return set_death_signal
