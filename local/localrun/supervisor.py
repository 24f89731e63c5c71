# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The process runner: supervisord, its configuration, and its remote control."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from localrun.errors import StartError
from localrun.layout import Layout
from localrun.leftovers import RUN_VARIABLE
from localrun.plan import Program

STORES = "stores"
SERVICES = "services"
ANSWER_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 90.0
START_SECONDS = 2
START_RETRIES = 1000
LOG_BYTES = "20MB"
LOG_BACKUPS = 2
NOT_THERE = (OSError, Fault)
ENDED = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})


def render_config(layout: Layout, programs: Sequence[Program]) -> str:
    """Return supervisord's configuration: the stores start with it, the services when told."""
    lines = [
        "[supervisord]",
        "nodaemon=true",
        "silent=true",
        f"pidfile={_escape(layout.supervisor_pid)}",
        f"logfile={_escape(layout.log('supervisord'))}",
        f"childlogdir={_escape(layout.logs)}",
        "",
        "[unix_http_server]",
        f"file={_escape(layout.socket)}",
        "chmod=0600",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        "",
        *_group(STORES, 1, [p.name for p in programs if p.is_store]),
        *_group(SERVICES, 2, [p.name for p in programs if not p.is_store]),
    ]
    for program in programs:
        lines += _program(layout, program)
    return "\n".join(lines) + "\n"


def _group(name: str, priority: int, members: Sequence[str]) -> list[str]:
    return [f"[group:{name}]", f"programs={','.join(members)}", f"priority={priority}", ""]


def _program(layout: Layout, program: Program) -> list[str]:
    wrapper = [sys.executable, "-m", "localrun.child", program.name, program.stop_signal]
    command = shlex.join([*wrapper, *program.command])
    return [
        f"[program:{program.name}]",
        f"command={_escape(command)}",
        f"directory={_escape(program.folder)}",
        f"autostart={'true' if program.is_store else 'false'}",
        "autorestart=true",
        f"startsecs={START_SECONDS}",
        f"startretries={START_RETRIES}",
        f"stopsignal={program.stop_signal}",
        f"stopwaitsecs={program.stop_wait_s}",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_escape(layout.log(program.name))}",
        f"stdout_logfile_maxbytes={LOG_BYTES}",
        f"stdout_logfile_backups={LOG_BACKUPS}",
        "",
    ]


def _escape(value: str | Path) -> str:
    return str(value).replace("%", "%%")


class Supervisor:
    """A running supervisord, asked over its socket; every call bounded in time."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def is_running(self) -> bool:
        """Return whether it answers."""
        try:
            self._call("getState")
        except NOT_THERE:
            return False
        return True

    def pid(self) -> int:
        """Return its process id."""
        return int(self._call("getPID"))

    def start_services(self) -> None:
        """Start the services; returns at once."""
        self._call("startProcessGroup", SERVICES, False)

    def processes(self) -> list[dict[str, Any]]:
        """Return what it knows of each program: ``name``, ``statename``, ``pid``, ``start``, …."""
        answer: list[dict[str, Any]] = self._call("getAllProcessInfo")
        return answer

    def restart(self, program: str) -> None:
        """End one program, by SIGKILL if its time is over, start it, and wait until it runs.

        Raises:
            StartError: If it is not running after 90 s.
        """
        if self._state(program)["statename"] not in ENDED:
            self._call("stopProcess", self._full_name(program), False)
            self._await_state(program, ENDED)
        self._call("startProcess", self._full_name(program), False)
        self._await_state(program, {"RUNNING"})

    def shut_down(self) -> None:
        """End every program, the stores last, and the supervisor; wait until it is gone.

        Raises:
            StartError: If it is still there after 90 s.
        """
        pid = self.pid()
        self._call("shutdown")
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while _exists(pid):
            if time.monotonic() > deadline:
                raise StartError(f"supervisord (process {pid}) does not end; see `logs`")
            time.sleep(0.1)

    def _state(self, program: str) -> dict[str, Any]:
        return next(state for state in self.processes() if state["name"] == program)

    def _full_name(self, program: str) -> str:
        return f"{self._state(program)['group']}:{program}"

    def _await_state(self, program: str, wanted: Collection[str]) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while (state := str(self._state(program)["statename"])) not in wanted:
            if time.monotonic() > deadline:
                raise StartError(f"{program} is {state}; see ./run_local.sh logs {program}")
            time.sleep(0.1)

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._layout.socket}")
        proxy = ServerProxy("http://supervisor", transport=transport)
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(ANSWER_TIMEOUT_S)
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            socket.setdefaulttimeout(before)
            transport.close()


def launch(
    layout: Layout, environment: Mapping[str, str], run_id: str, *, is_detached: bool
) -> "subprocess.Popen[bytes]":
    """Start supervisord; attached, it ends by SIGTERM when this process dies."""
    layout.supervisor_pid.unlink(missing_ok=True)
    layout.socket.unlink(missing_ok=True)
    runner = [sys.executable, "-m", "supervisor.supervisord", "-c", str(layout.config)]
    if not is_detached:
        runner = [sys.executable, "-m", "localrun.child", "supervisord", "TERM", *runner]
    with layout.log("supervisord.out").open("ab") as out:
        return subprocess.Popen(  # noqa: S603 - our own words
            runner,
            cwd="/",
            env={**environment, RUN_VARIABLE: run_id},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def _exists(pid: int) -> bool:
    try:
        # Reap it if it is our child.
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return True
