# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which programs make up the suite, with what environment, and where they answer."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from localchain.trading import TRADING_ADDRESS
from localrun.layout import Secrets

SIMULATOR_DATABASE = "linkora_simulator"
BINANCE_DATABASE = "linkora"
# History that the simulator's collector starts with, unless START_DATE says otherwise.
SIMULATOR_START_DATE = "2025-01-01"


class Program(msgspec.Struct, frozen=True):
    """One process that the supervisor keeps running.

    Attributes:
        name: Its name in the supervisor, the table and the log's file name.
        command: Program and arguments.
        folder: Its working directory.
        health_url: Answers 200 when it is healthy; empty for the stores.
        is_store: PostgreSQL and Redis: started first, ended last.
        stop_signal: What ends it cleanly, without ``SIG``.
        stop_wait_s: Time until it is killed.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    health_url: str = ""
    is_store: bool = False
    stop_signal: str = "TERM"
    stop_wait_s: int = 15


class Situation(msgspec.Struct, frozen=True):
    """What was decided before a start; kept, so that ``status`` and ``logs`` know it.

    Attributes:
        ports: Port by variable name.
        has_simulator: Market data comes from our exchange simulator.
        exchange_reason: Why (not).
        has_chain: Order events come from our local chain.
        chain_reason: Why (not).
    """

    ports: dict[str, int]
    has_simulator: bool
    exchange_reason: str
    has_chain: bool
    chain_reason: str

    @property
    def database(self) -> str:
        """Simulated and real prices are never in one database."""
        return SIMULATOR_DATABASE if self.has_simulator else BINANCE_DATABASE


def needed_ports(situation: Situation) -> list[str]:
    """Return the variables of the ports that this suite listens on."""
    absent = set()
    if not situation.has_simulator:
        absent.add("EXCHANGE_PORT")
    if not situation.has_chain:
        absent.add("CHAIN_PORT")
    return [name for name in situation.ports if name not in absent]


def plan_programs(situation: Situation, root: Path, python: str) -> list[Program]:
    """Return the services and sources, without the stores, in the order of the table."""
    ports = situation.ports

    def service(name: str, folder: str, *arguments: str, port: str, path: str) -> Program:
        return Program(
            name=name,
            command=(python, "main.py", *arguments),
            folder=root / folder,
            health_url=f"http://127.0.0.1:{ports[port]}{path}",
        )

    programs = [
        service("api-server", "api-server", port="API_PORT", path="/health"),
        service("order-api", "order_system", "api", port="ORDER_API_PORT", path="/health"),
        service("data-collector", "data-collector", port="COLLECTOR_PORT", path="/health"),
        service("order-events", "order_system", "events", port="EVENTS_PORT", path="/health"),
    ]
    if situation.has_simulator:
        programs.append(service("exchange", "demo/exchange", port="EXCHANGE_PORT", path="/health"))
    if situation.has_chain:
        programs.append(
            Program(
                name="chain",
                command=(python, "main.py"),
                folder=root / "demo/chain",
                health_url=f"http://127.0.0.1:{ports['CHAIN_PORT']}/",
            )
        )
    return programs


def plan_environment(
    situation: Situation, secrets: Secrets, given: Mapping[str, str], chain_state: Path
) -> dict[str, str]:
    """Return the variables that the services get beside those that are ``given``."""
    ports = situation.ports
    planned = {name: str(port) for name, port in ports.items()} | {
        "DB_HOST": "127.0.0.1",
        "DB_NAME": situation.database,
        "DB_USER": "linkora",
        "DB_PASSWORD": secrets.database,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_USERNAME": "",
        "REDIS_PASSWORD": secrets.redis,
    }
    if situation.has_simulator:
        planned["BINANCE_BASE_URL"] = f"http://127.0.0.1:{ports['EXCHANGE_PORT']}"
        planned["BINANCE_WS_URL"] = f"ws://127.0.0.1:{ports['EXCHANGE_PORT']}"
        planned["START_DATE"] = given.get("START_DATE") or SIMULATOR_START_DATE
    if situation.has_chain:
        planned["CHAIN_RPC"] = ""
        planned["CHAIN_STATE"] = str(chain_state)
        planned["WEB3_PROVIDER"] = f"http://127.0.0.1:{ports['CHAIN_PORT']}"
        planned["TRADING_ADDRESS"] = given.get("TRADING_ADDRESS") or TRADING_ADDRESS
        # A chain that was lost is followed anew: its orders meant nothing.
        planned["ON_CHAIN_RESTART"] = given.get("ON_CHAIN_RESTART") or "reset"
    return planned
