# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Production's Redis users, on a real server started by production/redis/start.sh."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from linkora.limits import RateLimiter
from linkora.pubsub import open_redis
from linkora.settings import RedisSettings
from testkit.processes import ServerProcess, free_port
from testkit.redis_server import redis_program

ROOT = Path(__file__).resolve().parents[2]
USERS = ("collector", "api", "order_events", "order_api")
# The worst that a password can hold.
PASSWORDS = {name: f"p '\"\\$#>{name}" for name in ("admin", *USERS)}
READING = {"api": "candles:all", "order_api": "orders:all"}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder, number = tmp_path_factory.mktemp("redis"), free_port()
    programs = folder / "programs"
    programs.mkdir()
    (programs / "redis-server").symlink_to(redis_program())
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "REDIS_PASSWORD": PASSWORDS["admin"],
        **{f"{name.upper()}_REDIS_PASSWORD": PASSWORDS[name] for name in USERS},
        "REDIS_DIR": str(folder),
        "REDIS_PORT": str(number),
        "REDIS_BIND": "127.0.0.1",
    }

    def answers() -> bool:
        try:
            with Redis(port=number, username="health", password="any") as client:  # type: ignore[no-untyped-call]
                return bool(client.ping())
        except OSError:
            return False
        except Exception as error:
            return not isinstance(error, AuthenticationError) and "onnect" not in str(error)

    script = ROOT / "production/redis/start.sh"
    command = ["env", *(f"{k}={v}" for k, v in environment.items()), "sh", script]
    server = ServerProcess(
        command, log_file=folder / "log", is_ready=answers, stop_signal=signal.SIGTERM
    )
    server.start()
    yield number
    server.kill()


def client(port: int, user: str) -> Redis:
    return Redis(port=port, username=user, password=PASSWORDS[user], protocol=2)  # type: ignore[no-untyped-call, no-any-return]


def test_nobody_comes_in_without_a_name(port: int) -> None:
    with Redis(port=port) as stranger, pytest.raises(AuthenticationError):  # type: ignore[no-untyped-call]
        stranger.ping()
    guesser = Redis(port=port, username="api", password="wrong")  # type: ignore[no-untyped-call]
    with guesser, pytest.raises(AuthenticationError):
        guesser.ping()


@pytest.mark.parametrize("user", USERS)
def test_no_service_may_rule_or_spy(port: int, user: str) -> None:
    with client(port, user) as service:
        assert service.ping()
        for command in (
            ["CONFIG", "GET", "*"], ["FLUSHALL"], ["SHUTDOWN"], ["KEYS", "*"], ["ACL", "LIST"],
            ["CLIENT", "LIST"], ["DEBUG", "SLEEP", "0"], ["MONITOR"], ["SET", "other", "1"],
            ["GET", "secret"], ["REPLICAOF", "NO", "ONE"],
        ):  # fmt: skip
            with pytest.raises(NoPermissionError):
                service.execute_command(*command)  # type: ignore[no-untyped-call]


def test_each_channel_has_one_service_that_may_publish(port: int) -> None:
    for channel, publisher in (
        ("candles:all", "collector"), ("orderbook:BTCUSDT", "collector"),
        ("trades:BTCUSDT", "collector"), ("orders:all", "order_events"),
    ):  # fmt: skip
        for user in USERS:
            with client(port, user) as service:
                if user == publisher:
                    assert service.publish(channel, "x") == 0
                else:
                    with pytest.raises(NoPermissionError):
                        service.publish(channel, "x")


@pytest.mark.parametrize("user", READING)
def test_a_reader_hears_its_own_channels_only(port: int, user: str) -> None:
    with client(port, user) as service, service.pubsub() as ear:
        ear.subscribe(READING[user])
        assert ear.get_message(timeout=5)["type"] == "subscribe"
        ear.subscribe("private:all")
        with pytest.raises(NoPermissionError):
            ear.get_message(timeout=5)


def test_the_collector_keeps_trades_that_the_api_reads(port: int) -> None:
    with client(port, "collector") as writer, client(port, "api") as reader:
        writer.lpush("recent_trades:BTCUSDT", "trade")
        writer.ltrim("recent_trades:BTCUSDT", 0, 9)
        assert reader.lrange("recent_trades:BTCUSDT", 0, 9) == [b"trade"]
        with pytest.raises(NoPermissionError):
            reader.lpush("recent_trades:BTCUSDT", "forged")


@pytest.mark.parametrize("user", ["api", "order_api"])
async def test_the_apis_count_requests_and_every_service_marks_alerts(port: int, user: str) -> None:
    settings = RedisSettings(
        host="127.0.0.1", port=port, username=user, password=SecretStr(PASSWORDS[user])
    )
    async with open_redis(settings) as redis:
        limiter = RateLimiter(redis, user, per_minute=10)
        for _ in range(3):
            limiter.take("192.0.2.1")
        (budget,) = limiter._budgets.values()
        await limiter._report(["192.0.2.1"])
        assert (budget.left, budget.spent) == (7, 0)
        assert await redis.set("alert:database", user, nx=True, ex=5)
        assert await redis.delete("alert:database") == 1


def test_the_passwords_are_on_no_command_line(port: int) -> None:
    shown = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    servers = [line for line in shown.splitlines() if "redis-server" in line]
    assert servers
    assert not [line for line in servers if any(p in line for p in PASSWORDS.values())]


def test_a_missing_password_stops_the_start() -> None:
    done = subprocess.run(
        ["sh", ROOT / "production/redis/start.sh"],
        env={"PATH": os.environ["PATH"], "REDIS_PASSWORD": "x", "COLLECTOR_REDIS_PASSWORD": ""},
        check=False, capture_output=True, text=True, timeout=10,
    )  # fmt: skip
    assert done.returncode == 2
    assert "COLLECTOR_REDIS_PASSWORD is empty" in done.stderr
