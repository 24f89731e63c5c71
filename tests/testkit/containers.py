# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""TimescaleDB and Redis in containers, where Docker answers and has (or gets) their images."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import docker  # type: ignore[import-untyped]
import psycopg
from docker.errors import DockerException, ImageNotFound  # type: ignore[import-untyped]
from pydantic import SecretStr

from linkora.settings import DatabaseSettings, RedisSettings
from testkit.postgres import connect, option_arguments

TIMESCALEDB_IMAGE = os.environ.get("TEST_TIMESCALEDB_IMAGE", "timescale/timescaledb:2.28.3-pg16")
REDIS_IMAGE = os.environ.get("TEST_REDIS_IMAGE", "redis:8.2.1-alpine")
DEFAULT_HOST = "unix:///var/run/docker.sock"
ANSWER_TIMEOUT_S = 3
PULL_TIMEOUT_S = 60
START_TIMEOUT_S = 60


def has_image(image: str, *, pull: bool) -> bool:
    """Tell whether Docker answers and has the image; pulls for a bounded time."""
    if not _daemon_listens():
        return False
    try:
        client = docker.from_env(timeout=ANSWER_TIMEOUT_S)
    except DockerException:
        return False
    try:
        client.images.get(image)
    except ImageNotFound:
        return pull and _pull(image)
    except DockerException:
        return False
    else:
        return True
    finally:
        client.close()


def _daemon_listens() -> bool:
    """Tell whether somebody listens on Docker's socket.

    Asked before the client is made, which leaves a socket open behind it where nobody does.
    """
    scheme, _, address = os.environ.get("DOCKER_HOST", DEFAULT_HOST).partition("://")
    if scheme != "unix":
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


def _pull(image: str) -> bool:
    """Pull in a thread of its own, because the client cannot bound the whole transfer."""
    pulled: list[bool] = []

    def pull() -> None:
        client = docker.from_env(timeout=PULL_TIMEOUT_S)
        try:
            client.images.pull(image)
            pulled.append(True)
        except DockerException:
            pulled.append(False)
        finally:
            client.close()

    thread = Thread(target=pull, daemon=True)
    thread.start()
    thread.join(PULL_TIMEOUT_S)
    return pulled == [True]


@contextmanager
def timescaledb_container() -> Iterator[DatabaseSettings]:
    """Yield how to reach the superuser's database of a fresh container."""
    password = "postgres"
    with _running(
        TIMESCALEDB_IMAGE,
        5432,
        env={"POSTGRES_USER": "postgres", "POSTGRES_PASSWORD": password},
        command=["postgres", *option_arguments()],
    ) as (host, port):
        settings = DatabaseSettings(
            host=host, port=port, name="postgres", user="postgres", password=SecretStr(password)
        )
        _wait_for(settings)
        yield settings


@contextmanager
def redis_container() -> Iterator[RedisSettings]:
    """Yield how to reach a fresh Redis container."""
    with _running(REDIS_IMAGE, 6379, env={}, command=None) as (host, port):
        yield RedisSettings(host=host, port=port)


@contextmanager
def _running(
    image: str, port: int, *, env: dict[str, str], command: list[str] | None
) -> Iterator[tuple[str, int]]:
    # testcontainers reads these when it is imported. Its reaper is one more image to pull; we
    # remove the containers ourselves.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    if Path("/.dockerenv").exists():
        os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")
        os.environ.setdefault("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(image).with_exposed_ports(port)
    for name, value in env.items():
        container = container.with_env(name, value)
    if command is not None:
        container = container.with_command(command)
    with container:
        yield container.get_container_host_ip(), int(container.get_exposed_port(port))


def _wait_for(settings: DatabaseSettings) -> None:
    """Wait until it listens; the first start's own setup server does not listen on TCP."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            connect(settings).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
