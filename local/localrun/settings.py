# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the command line, the environment and a file ``.env`` say: the only place that reads them.

The environment wins over ``.env``, and ``.env`` over the defaults.
"""

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast, get_args

import msgspec
from dotenv import dotenv_values

from localrun.errors import StartError

ROOT = Path(__file__).resolve().parents[2]

Command = Literal["start", "status", "logs", "restart", "stop"]
Exchange = Literal["auto", "binance", "simulator"]

# Variable, default port, what listens there. As in Compose, where they are published.
PORTS: dict[str, tuple[int, str]] = {
    "API_PORT": (8022, "market data API"),
    "ORDER_API_PORT": (8080, "order API"),
    "COLLECTOR_PORT": (8023, "data collector's health"),
    "EVENTS_PORT": (8081, "event processor's health"),
    "EXCHANGE_PORT": (9080, "exchange simulator"),
    "CHAIN_PORT": (8545, "local chain"),
    "DB_PORT": (5432, "PostgreSQL"),
    "REDIS_PORT": (6379, "Redis"),
}
MAX_PORT = 65_535
# As the Compose service and the scripts call it.
ALIASES = {"timescaledb": "postgres"}

EXPORTS_VARIABLE = "LOCAL_SUITE_EXPORTS"
"""Where the suite's file ``env`` repeats the addresses it exports, so that a start from a shell
that has sourced it takes none of them for its user's wish."""
OWN_ADDRESSES = (
    "BINANCE_BASE_URL", "BINANCE_WS_URL", "CHAIN_RPC", "CHAIN_STATE", "WEB3_PROVIDER",
    "TRADING_ADDRESS", "ON_CHAIN_RESTART",
)  # fmt: skip

DESCRIPTION = """\
Runs the whole suite on this machine, without Docker: PostgreSQL, Redis, migrations, collector,
APIs, event processor, and where they are wanted an exchange simulator and a local chain. Data,
logs and secrets are in .local/. Ctrl-C stops it; with --detach it goes on in the background."""
EPILOG = (
    "ports (environment or .env): "
    + ", ".join(f"{name}={port}" for name, (port, _) in PORTS.items())
    + ". Every other variable of .env.example is handed on to the services."
)


class Options(msgspec.Struct, frozen=True):
    """One call of the command.

    Attributes:
        command: What to do.
        is_detached: Return once everything is healthy, and leave it running.
        exchange: Where market data comes from; ``auto`` is Binance if it answers.
        with_chain: Start a local chain where Node.js is there.
        ports: Port by variable name, all keys of ``PORTS``.
        folder: Where data, logs, secrets and run files are.
        environment: The environment and ``.env`` together.
        programs: For ``logs``: which programs, all if empty. For ``restart``: at least one.
        follow: For ``logs``: go on printing new lines.
        start_timeout_s: How long to wait until everything is healthy.
    """

    command: Command
    is_detached: bool
    exchange: Exchange
    with_chain: bool
    ports: dict[str, int]
    folder: Path
    environment: dict[str, str]
    programs: tuple[str, ...]
    follow: bool
    start_timeout_s: float


def load(arguments: Sequence[str]) -> Options:
    """Return the options of this call.

    Raises:
        SystemExit: 2 for a wrong argument, 0 after ``--help``.
        StartError: For a variable with a wrong value.
    """
    # Intermixed, since an option may stand before the programs: `logs --no-follow redis`.
    parsed = _parser().parse_intermixed_args(arguments)
    from_file = {k: v for k, v in dotenv_values(ROOT / ".env").items() if v is not None}
    environment = {**from_file, **without_own_exports(os.environ, parsed.port_offset)}
    return Options(
        command=cast("Command", parsed.command),
        is_detached=parsed.detach,
        exchange=cast("Exchange", parsed.exchange),
        with_chain=not parsed.no_chain,
        ports=read_ports(environment, parsed.port_offset),
        folder=Path(environment.get("LINKORA_LOCAL_DIR") or ROOT / ".local").resolve(),
        environment=environment,
        programs=tuple(ALIASES.get(name, name) for name in parsed.program),
        follow=not parsed.no_follow,
        start_timeout_s=parsed.timeout,
    )


def without_own_exports(environment: Mapping[str, str], offset: int = 0) -> dict[str, str]:
    """Return the environment without what the file ``env`` of a suite has put into it.

    A value that was changed since is the user's. Ports stay, so that a suite comes back where it
    was, unless ``offset`` moves them.
    """
    exported = shlex.split(environment.get(EXPORTS_VARIABLE, ""))
    own = {EXPORTS_VARIABLE}
    for name, _, value in (word.partition("=") for word in exported):
        if environment.get(name) == value and (offset or name not in PORTS):
            own.add(name)
    return {name: value for name, value in environment.items() if name not in own}


def read_ports(environment: Mapping[str, str], offset: int = 0) -> dict[str, int]:
    """Return the port of each variable in ``PORTS``; ``offset`` moves those that are not set.

    Raises:
        StartError: If a value is no port, or two variables have the same one.
    """
    ports: dict[str, int] = {}
    for name, (default, _) in PORTS.items():
        text = environment.get(name) or str(default + offset)
        if not text.isdecimal() or not 1 <= int(text) <= MAX_PORT:
            raise StartError(f"{name}={text!r}: allowed are ports from 1 to {MAX_PORT}")
        twin = next((other for other, port in ports.items() if port == int(text)), None)
        if twin is not None:
            raise StartError(f"{name} and {twin} are both {text}: each needs a port of its own")
        ports[name] = int(text)
    return ports


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run_local.sh",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("command", nargs="?", default="start", choices=get_args(Command))
    add("program", nargs="*", help="logs: only of these programs; restart: these, e.g. redis")
    add("-d", "--detach", action="store_true", help="start in the background")
    add(
        "--exchange",
        choices=["auto", "binance", "simulator"],
        default="auto",
        help="where market data comes from; auto (default): Binance if it answers",
    )
    add("--no-chain", action="store_true", help="start no local chain, even if Node.js is here")
    add("--port-offset", type=int, default=0, metavar="N", help="add N to every default port")
    add("--no-follow", action="store_true", help="logs: print what is there and end")
    add(
        "--timeout",
        type=float,
        default=120.0,
        metavar="S",
        help="seconds to wait until everything is healthy (default 120)",
    )
    return parser
