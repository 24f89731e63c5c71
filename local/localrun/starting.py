# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The start, step by step: decide, prepare, launch, migrate, wait until all is well."""

import asyncio
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import asyncpg
import msgspec

from localrun import postgres, redis_server
from localrun.errors import StartError
from localrun.health import last_lines, wait_until_healthy
from localrun.layout import Layout, write_private
from localrun.leftovers import end_leftovers
from localrun.plan import Program, Situation, needed_ports, plan_environment, plan_programs
from localrun.ports import check_ports
from localrun.settings import EXPORTS_VARIABLE, OWN_ADDRESSES, PORTS, ROOT, Options
from localrun.sources import choose_chain, choose_exchange
from localrun.supervisor import Supervisor, launch, render_config

Say = Callable[[str], None]

SUPERVISOR_TIMEOUT_S = 20.0
POSTGRES_TIMEOUT_S = 60.0
MIGRATE_TIMEOUT_S = 600.0
POLL_INTERVAL_S = 0.1


class Suite:
    """One start of the suite; ``process`` is the supervisor once it has been launched."""

    def __init__(self, options: Options, layout: Layout, say: Say) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._options = options
        self._layout = layout
        self._say = say
        self._supervisor = Supervisor(layout)

    def decide(self) -> Situation:
        """Return what this start consists of.

        Raises:
            StartError: If a port is taken.
        """
        options = self._options
        ended = end_leftovers(run_id(self._layout))
        if ended:
            self._say(f"ended {ended} processes that a killed run had left behind")
        exchange = choose_exchange(options.exchange, options.environment)
        if exchange.is_own:
            self._say(f"exchange: SIMULATED prices ({exchange.reason})")
        else:
            self._say(f"exchange: Binance ({exchange.reason})")
        chain = choose_chain(options.environment, is_wanted=options.with_chain)
        self._say(f"local chain: {'yes' if chain.is_own else 'no'} ({chain.reason})")
        situation = Situation(
            options.ports, exchange.is_own, exchange.reason, chain.is_own, chain.reason
        )
        check_ports(needed_ports(situation), options.ports)
        return situation

    def prepare(self, situation: Situation) -> dict[str, str]:
        """Write all files that the programs need; return their environment.

        Raises:
            StartError: If a server is missing or cannot be set up.
        """
        layout = self._layout
        postgres.initialise(layout)
        programs = [*self._stores(situation), *services(situation)]
        write_private(layout.config, render_config(layout, programs))
        write_private(layout.state, msgspec.json.encode(situation).decode())
        planned = plan_environment(
            situation, layout.secrets(), self._options.environment, layout.chain / "state.json"
        )
        write_private(layout.environment, environment_file(planned))
        return {**self._options.environment, **planned}

    def launch(self, environment: dict[str, str]) -> None:
        """Start the supervisor, and with it the stores.

        Raises:
            StartError: If it does not answer.
        """
        is_detached = self._options.is_detached
        self.process = launch(
            self._layout, environment, run_id(self._layout), is_detached=is_detached
        )
        deadline = time.monotonic() + SUPERVISOR_TIMEOUT_S
        while not self._supervisor.is_running():
            if self.process.poll() is not None or time.monotonic() > deadline:
                lines = last_lines(self._layout, "supervisord.out")
                raise StartError(f"supervisord does not start:\n{lines}")
            time.sleep(POLL_INTERVAL_S)

    def set_up_database(self, situation: Situation, environment: dict[str, str]) -> None:
        """Wait for the server, make the database, and migrate it.

        Raises:
            StartError: If one of these fails; the message has the log's last lines.
        """
        secrets, port = self._layout.secrets(), situation.ports["DB_PORT"]
        deadline = time.monotonic() + POSTGRES_TIMEOUT_S
        while True:
            try:
                asyncio.run(
                    postgres.ensure_database(
                        port, secrets.superuser, situation.database, secrets.database
                    )
                )
                break
            except (OSError, TimeoutError, asyncpg.PostgresError) as error:
                if time.monotonic() > deadline:
                    lines = last_lines(self._layout, "postgres")
                    raise StartError(f"PostgreSQL does not start: {error}\n{lines}") from None
                time.sleep(POLL_INTERVAL_S)
        with self._layout.log("migrate").open("ab") as log:
            done = subprocess.run(
                [sys.executable, "main.py"],
                check=False,
                cwd=ROOT / "migrations",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=MIGRATE_TIMEOUT_S,
            )
        if done.returncode != 0:
            raise StartError(f"the migration failed:\n{last_lines(self._layout, 'migrate')}")

    def start_services(self, situation: Situation) -> dict[str, str]:
        """Start the services and wait; return what is still wrong in the end, by name.

        Raises:
            StartError: If one of them does not start at all.
        """
        self._supervisor.start_services()
        return wait_until_healthy(
            services(situation),
            self._processes,
            self._layout,
            self._options.start_timeout_s,
        )

    def _processes(self) -> list[dict[str, Any]]:
        return self._supervisor.processes()

    def _stores(self, situation: Situation) -> list[Program]:
        layout, ports = self._layout, situation.ports
        database = postgres.server_command(layout.postgres, ports["DB_PORT"])
        redis = redis_server.server_command(layout, ports["REDIS_PORT"])
        return [
            Program(
                name="postgres",
                command=tuple(database),
                folder=layout.folder,
                is_store=True,
                stop_signal="INT",
                stop_wait_s=60,
            ),
            Program(name="redis", command=tuple(redis), folder=layout.redis, is_store=True),
        ]


def services(situation: Situation) -> list[Program]:
    """Return the programs of this suite other than the stores."""
    return plan_programs(situation, ROOT, sys.executable)


def run_id(layout: Layout) -> str:
    """Return what marks every process of this folder's suite in its environment."""
    return sha256(os.fsencode(layout.folder)).hexdigest()[:16]


def environment_file(planned: dict[str, str]) -> str:
    """Return a file to be sourced by a shell: the variables, and two URLs made of them.

    It names its own addresses in ``LOCAL_SUITE_EXPORTS``, for the next start from that shell.
    """
    address = f"{planned['DB_HOST']}:{planned['DB_PORT']}/{planned['DB_NAME']}"
    database = f"postgresql://{planned['DB_USER']}:{planned['DB_PASSWORD']}@{address}"
    redis = f"redis://:{planned['REDIS_PASSWORD']}@127.0.0.1:{planned['REDIS_PORT']}"
    own = [f"{name}={planned[name]}" for name in (*PORTS, *OWN_ADDRESSES) if name in planned]
    variables = {**planned, "DATABASE_URL": database, "REDIS_URL": redis}
    variables[EXPORTS_VARIABLE] = shlex.join(own)
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
