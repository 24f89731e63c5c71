# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The servers of a test run, as fixtures. Nothing starts until a test asks for it.

PostgreSQL: ``TEST_DATABASE_URL``, else a TimescaleDB container where Docker answers and has or
gets the image, else an embedded server. Redis likewise: ``TEST_REDIS_URL``, container, embedded.
``TEST_SERVERS=docker|embedded`` leaves only that way. TimescaleDB: ``TEST_TIMESCALEDB_URL``, else
the PostgreSQL above where it has the extension, else PGlite (WebAssembly, needs Node).

Fixtures for a test: ``database`` (settings of a fresh, migrated database), ``pool``,
``empty_database``, ``redis_settings``, ``redis_client``, ``timescale_database``, and
``either_database`` / ``either_pool``, which run a test on both kinds of database.
For outages: ``testkit.postgres.private_postgres`` and ``testkit.redis_server.private_redis``.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from typing import Any, Literal

import asyncpg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.connection import parse_url

from linkora.database import open_pool
from linkora.pubsub import open_redis
from linkora.settings import DatabaseSettings, RedisSettings
from testkit import containers
from testkit.databases import Databases, empty_again, remember_rows
from testkit.pglite import running_pglite
from testkit.postgres import connect, private_postgres
from testkit.redis_server import private_redis

_IN_USE = pytest.StashKey[dict[str, str]]()

Way = Literal["url", "docker", "embedded"]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_IN_USE] = {}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a worker of pytest-xdist tell the run which servers it used."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["servers"] = session.config.stash[_IN_USE]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a worker of pytest-xdist which servers it used."""
    node.config.stash[_IN_USE] |= getattr(node, "workeroutput", {}).get("servers", {})


def pytest_report_header() -> list[str]:
    """Say before the first test which servers it will be."""
    return [
        f"postgresql: {_plan('TEST_DATABASE_URL', containers.TIMESCALEDB_IMAGE)}",
        f"redis: {_plan('TEST_REDIS_URL', containers.REDIS_IMAGE)}",
    ]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say after the last test which servers it really was."""
    for server, description in config.stash[_IN_USE].items():
        terminalreporter.write_line(f"server used: {server} = {description}")


@pytest.fixture(scope="session")
def databases(pytestconfig: pytest.Config) -> Iterator[Databases]:
    """The PostgreSQL server of this run, ready to make databases."""
    way = _way("TEST_DATABASE_URL", containers.TIMESCALEDB_IMAGE)
    with _postgres(way) as admin, closing(Databases(admin)) as server:
        extension = "with" if server.has_timescaledb else "without"
        pytestconfig.stash[_IN_USE]["postgresql"] = (
            f"{way}, version {server.version}, {extension} timescaledb"
        )
        yield server


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[DatabaseSettings]:
    """A fresh database without tables."""
    with databases.empty() as settings:
        yield settings


@pytest.fixture
def database(databases: Databases) -> Iterator[DatabaseSettings]:
    """A fresh database with every migration applied."""
    with databases.migrated() as settings:
        yield settings


@pytest.fixture
async def pool(database: DatabaseSettings) -> AsyncIterator[asyncpg.Pool]:
    """A pool on ``database``, as the services open it."""
    async with open_pool(database, name="tests") as opened:
        yield opened


@pytest.fixture(scope="session")
def timescale_server(
    databases: Databases, pytestconfig: pytest.Config
) -> Iterator[DatabaseSettings]:
    """A migrated database with TimescaleDB, one for the whole run; fails where none can be had."""
    with _timescaledb(databases) as settings:
        with connect(settings) as connection:
            row = connection.execute(
                "SELECT extversion, version() FROM pg_extension WHERE extname = 'timescaledb'"
            ).fetchone()
            remember_rows(connection)
        assert row is not None, "the migrations left out the timescaledb extension"
        pytestconfig.stash[_IN_USE]["timescaledb"] = f"{row[0]} on {row[1]}"
        yield settings


@pytest.fixture
def timescale_database(timescale_server: DatabaseSettings) -> DatabaseSettings:
    """The TimescaleDB database as the migrations left it."""
    with connect(timescale_server) as connection:
        empty_again(connection)
    return timescale_server


@pytest.fixture(params=["postgresql", "timescaledb"])
def either_database(request: pytest.FixtureRequest) -> DatabaseSettings:
    """Runs the test twice: an empty migrated database without and with TimescaleDB."""
    name = "database" if request.param == "postgresql" else "timescale_database"
    settings: DatabaseSettings = request.getfixturevalue(name)
    return settings


@pytest.fixture
async def either_pool(either_database: DatabaseSettings) -> AsyncIterator[asyncpg.Pool]:
    """A pool on ``either_database``, as the services open it."""
    async with open_pool(either_database, name="tests") as opened:
        yield opened


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> Iterator[RedisSettings]:
    """The Redis server of this run."""
    way = _way("TEST_REDIS_URL", containers.REDIS_IMAGE)
    with _redis(way) as settings:
        with _sync_redis(settings) as client:
            version = client.info("server")["redis_version"]
        pytestconfig.stash[_IN_USE]["redis"] = f"{way}, version {version}"
        yield settings


@pytest.fixture
def redis_settings(redis_server: RedisSettings) -> RedisSettings:
    """How to reach an empty Redis."""
    with _sync_redis(redis_server) as client:
        client.flushdb()
    return redis_server


@pytest.fixture
async def redis_client(redis_settings: RedisSettings) -> AsyncIterator[Redis]:
    """A client on an empty Redis, as the services open it."""
    async with open_redis(redis_settings) as client:
        yield client


def _way(url_name: str, image: str) -> Way:
    """Return how this run gets a server; may pull the image, for a bounded time."""
    if os.environ.get(url_name):
        return "url"
    wanted = os.environ.get("TEST_SERVERS", "auto")
    if wanted == "docker" or (wanted == "auto" and containers.has_image(image, pull=True)):
        return "docker"
    return "embedded"


def _plan(url_name: str, image: str) -> str:
    if os.environ.get(url_name):
        return f"from {url_name}"
    wanted = os.environ.get("TEST_SERVERS", "auto")
    if wanted == "embedded":
        return "embedded (TEST_SERVERS)"
    if wanted == "docker" or containers.has_image(image, pull=False):
        return f"container {image}"
    return f"container {image} if it can be pulled, else embedded"


@contextmanager
def _postgres(way: Way) -> Iterator[DatabaseSettings]:
    if way == "url":
        yield _database_settings(os.environ["TEST_DATABASE_URL"])
    elif way == "docker":
        with containers.timescaledb_container() as settings:
            yield settings
    else:
        with private_postgres() as server:
            yield server.settings()


@contextmanager
def _redis(way: Way) -> Iterator[RedisSettings]:
    if way == "url":
        yield _redis_settings(os.environ["TEST_REDIS_URL"])
    elif way == "docker":
        with containers.redis_container() as settings:
            yield settings
    else:
        with private_redis() as server:
            yield server.settings()


@contextmanager
def _timescaledb(databases: Databases) -> Iterator[DatabaseSettings]:
    url = os.environ.get("TEST_TIMESCALEDB_URL")
    if url or databases.has_timescaledb:
        server = Databases(_database_settings(url)) if url else databases
        with server.migrated() as settings:
            yield settings
    else:
        from schema.runner import migrate

        with running_pglite() as settings:
            migrate(settings)
            yield settings


def _database_settings(url: str) -> DatabaseSettings:
    parts = conninfo_to_dict(url)
    return DatabaseSettings(
        host=str(parts.get("host") or "127.0.0.1"),
        port=int(parts.get("port") or 5432),
        name=str(parts.get("dbname") or "postgres"),
        user=str(parts.get("user") or "postgres"),
        password=SecretStr(str(parts.get("password") or "")),
    )


def _redis_settings(url: str) -> RedisSettings:
    parts = parse_url(url)  # type: ignore[no-untyped-call]
    password = parts.get("password")
    return RedisSettings(
        host=parts.get("host", "127.0.0.1"),
        port=parts.get("port", 6379),
        username=parts.get("username"),
        password=SecretStr(password) if password else None,
    )


def _sync_redis(settings: RedisSettings) -> SyncRedis:
    password = settings.password.get_secret_value() if settings.password else None
    return SyncRedis(
        host=settings.host, port=settings.port, username=settings.username, password=password
    )
