# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import psycopg
import pytest
from redis.asyncio import Redis

from linkora.settings import DatabaseSettings
from testkit.databases import Databases
from testkit.postgres import connect, private_postgres
from testkit.redis_server import private_redis


def test_an_empty_database_has_no_tables(empty_database: DatabaseSettings) -> None:
    with connect(empty_database) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert tables == []


def test_a_database_is_gone_after_its_test(databases: Databases) -> None:
    with databases.empty() as settings:
        connect(settings).close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        connect(settings)


def test_a_private_postgres_comes_back_on_its_port_with_its_data() -> None:
    with private_postgres() as server:
        with connect(server.settings()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        for end in (server.stop, server.kill):
            end()
            with pytest.raises(psycopg.OperationalError):
                connect(server.settings())
            server.start()
            with connect(server.settings()) as connection:
                assert connection.execute("SELECT number FROM kept").fetchall() == [(7,)]


async def test_redis_is_empty_at_the_start_of_a_test(redis_client: Redis) -> None:
    assert await redis_client.dbsize() == 0
    await redis_client.set("left", "over")


async def test_redis_is_empty_again_in_the_next_test(redis_client: Redis) -> None:
    assert await redis_client.dbsize() == 0


async def test_a_private_redis_comes_back_on_its_port() -> None:
    with private_redis() as server:
        async with Redis(host="127.0.0.1", port=server.port) as client:
            server.kill()
            with pytest.raises(ConnectionError):
                await _ping_once(server.port)
            server.start()
            assert await client.ping()


async def _ping_once(port: int) -> None:
    import asyncio

    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
