# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Each part is started alone by the command in its document, on stores and a chain of its own."""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from documents.rules import commands_of_kind

from linkora.settings import DatabaseSettings
from testkit.databases import Databases
from testkit.documents import ROOT, Command, commands
from testkit.processes import free_port
from testkit.redis_server import private_redis

COMMANDS = commands()
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
RPC = "/rpc"  # marks the address of a node, which has no /health
ONE_LOOP = {"scope": "module", "loop_scope": "module"}

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


class Typed(msgspec.Struct, frozen=True, order=True):
    """What to type, and in which folder of the repository."""

    folder: str
    arguments: str
    settings: str = ""

    @property
    def name(self) -> str:
        return f"{self.folder} {self.arguments}".strip()


def typed(command: Command) -> Typed:
    """Split ``cd FOLDER && NAME=value python main.py ARGUMENTS``."""
    match = re.fullmatch(
        r"(?:cd (\S+) && )?((?:[A-Z0-9_]+=\S+ )*)python main\.py ?(.*)", command.text
    )
    assert match is not None, command
    # README.md says `python main.py api` of the order system, having named its folder before.
    folder = str(command.folder) if command.folder != Path() else "order_system"
    return Typed(match[1] or folder, match[3], match[2].strip())


SERVICES = sorted({typed(command) for command in commands_of_kind(COMMANDS, "service")})


def one(folder: str, arguments: str = "") -> Typed:
    found = [t for t in SERVICES if (t.folder, t.arguments) == (folder, arguments)]
    assert found, f"no document says how to start {folder} {arguments}"
    return found[-1]


class Home:
    """Stores, and where each part shall listen."""

    def __init__(self, database: DatabaseSettings, redis_port: int) -> None:
        names = ("API", "COLLECTOR", "ORDER_API", "EVENTS", "EXCHANGE", "CHAIN")
        self.ports = {name: free_port() for name in names}
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/tmp"),
            "DB_HOST": database.host,
            "DB_PORT": str(database.port),
            "DB_NAME": database.name,
            "DB_USER": database.user,
            "DB_PASSWORD": database.password.get_secret_value(),
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(redis_port),
            "SYMBOLS": "BTCUSDT",
            "START_DATE": "2026-11-22",
            "BINANCE_BASE_URL": self.url("EXCHANGE"),
            "BINANCE_WS_URL": self.url("EXCHANGE").replace("http", "ws"),
            "CHAIN_BLOCK_TIME_S": "1",
            "CHAIN_ACTION_INTERVAL_S": "0.3",
            **{f"{name}_PORT": str(port) for name, port in self.ports.items()},
        }

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    async def start(self, what: Typed, log: Path, **env: str) -> asyncio.subprocess.Process:
        """Type it into a shell; ``exec`` so that a signal reaches the program itself."""
        settings = what.settings.replace("http://127.0.0.1:8545", self.url("CHAIN"))
        text = f"cd {what.folder} && {settings} exec python main.py {what.arguments}"
        text = text.replace("--port 9081", f"--port {self.ports['EXCHANGE']}")
        with log.open("wb") as output:
            return await asyncio.create_subprocess_exec(
                "bash", "-c", text, cwd=ROOT, env=self.env | env, stdout=output, stderr=output
            )

    async def end_of(self, what: Typed, log: Path, **env: str) -> int:
        """Start what ends by itself, and return its exit code."""
        process = await self.start(what, log, **env)
        return await asyncio.wait_for(process.wait(), START_TIMEOUT_S)

    @asynccontextmanager
    async def running(self, what: Typed, log: Path, url: str, **env: str) -> AsyncIterator[None]:
        """Run it until the block ends; it answers when the block begins, and ends cleanly."""
        process = await self.start(what, log, **env)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await answers(url):
                    assert process.returncode is None, f"{what.name}: {end_of_log(log)}"
                    await asyncio.sleep(0.1)
            yield
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            code = await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        assert code == 0, f"{what.name} ended with {code}: {end_of_log(log)}"


def end_of_log(path: Path) -> str:
    return path.read_text(errors="replace")[-3000:]


async def until_said(
    text: str, log: Path, process: asyncio.subprocess.Process | None = None
) -> None:
    """Return once the log has the text, which the process must live to write."""
    async with asyncio.timeout(START_TIMEOUT_S):
        while text not in end_of_log(log):
            assert process is None or process.returncode is None, end_of_log(log)
            await asyncio.sleep(0.1)


async def answers(url: str) -> bool:
    """Return whether a service says that it is well, or a node which chain it is."""
    question = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    try:
        async with aiohttp.ClientSession() as session:
            if url.endswith(RPC):
                asking = session.post(url.removesuffix(RPC), json=question)
            else:
                asking = session.get(f"{url}/health")
            async with asking as answer:
                return answer.status == 200
    except aiohttp.ClientError:
        return False


@pytest_asyncio.fixture(**ONE_LOOP)
async def home(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Home]:
    """An empty database, a Redis, and a local chain without traffic."""
    with databases.empty() as database, private_redis() as redis:
        found = Home(database, redis.port)
        log = tmp_path_factory.mktemp("home") / "node.log"
        async with found.running(one("demo/chain", "node"), log, f"{found.url('CHAIN')}{RPC}"):
            yield found


def at_chain(home: Home) -> dict[str, str]:
    return {"CHAIN_RPC": home.url("CHAIN")}


async def test_the_chain_is_made_by_hand_step_by_step(home, tmp_path):
    log, env = tmp_path / "log", at_chain(home)
    assert await home.end_of(one("demo/chain", "check"), log, **env) != 0, "no contract yet"
    assert await home.end_of(one("demo/chain", "deploy"), log, **env) == 0, end_of_log(log)
    assert await home.end_of(one("demo/chain", "check"), log, **env) == 0, end_of_log(log)
    traffic = await home.start(one("demo/chain", "traffic"), log, **env)
    await until_said("transaction_sent", log, traffic)
    traffic.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(traffic.wait(), STOP_TIMEOUT_S) == 0
    assert await home.end_of(one("demo/chain", "reorg 3"), log, **env) == 0, end_of_log(log)


async def test_a_chain_with_everything_starts_by_one_command(home, tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}{RPC}"
    log = tmp_path / "log"
    async with home.running(one("demo/chain"), log, url, CHAIN_PORT=str(port)):
        await until_said("transaction_sent", log)


async def test_the_migrations_make_the_tables_and_may_run_again(home, tmp_path):
    for _ in range(2):
        assert await home.end_of(one("migrations"), tmp_path / "log") == 0


async def test_exchange_collector_and_api_start_in_this_order(home, tmp_path):
    with_options, plain = sorted(
        (t for t in SERVICES if t.folder == "demo/exchange"), key=lambda t: len(t.arguments)
    )[::-1]
    async with home.running(with_options, tmp_path / "exchange", home.url("EXCHANGE")):
        pass
    async with (
        home.running(plain, tmp_path / "exchange", home.url("EXCHANGE")),
        home.running(one("data-collector"), tmp_path / "collector", home.url("COLLECTOR")),
        home.running(one("api-server"), tmp_path / "api", home.url("API")),
    ):
        pass


async def test_both_order_services_start(home, tmp_path):
    async with (
        home.running(one("order_system", "events"), tmp_path / "events", home.url("EVENTS")),
        home.running(one("order_system", "api"), tmp_path / "api", home.url("ORDER_API")),
    ):
        pass


async def test_all_that_is_started_alone_was_started_above():
    folders = {what.folder for what in SERVICES}
    assert folders == {
        "api-server", "data-collector", "demo/chain", "demo/exchange", "migrations", "order_system",
    }  # fmt: skip
    chain = {what.arguments for what in SERVICES if what.folder == "demo/chain"}
    assert chain == {"", "node", "deploy", "traffic", "reorg 3", "check"}
    orders = {what.arguments for what in SERVICES if what.folder == "order_system"}
    assert orders == {"api", "events"}


async def test_the_folder_that_is_entered_is_there():
    for command in commands_of_kind(COMMANDS, "folder"):
        assert (ROOT / command.text.removeprefix("cd ")).is_dir(), command


async def test_a_migration_can_be_added(home, tmp_path):
    (command,) = {c.text for c in commands_of_kind(COMMANDS, "alembic")}
    folder = tmp_path / "migrations"
    shutil.copytree(ROOT / "migrations", folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = set((folder / "versions").glob("*.py"))
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, cwd=folder, env=home.env | {"PYTHONPATH": str(ROOT / "common")},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(START_TIMEOUT_S):
        told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    (added,) = set((folder / "versions").glob("*.py")) - before
    assert added.name.endswith("_what_it_does.py")
