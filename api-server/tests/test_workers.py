# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The program itself, as a process: one, several workers, replicas, and how it ends."""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import psutil
import pytest

from linkora.runtime import listening_socket
from linkora.timeframes import floor_minute_ms
from marketdata.service import run
from marketdata.settings import Settings
from testkit.market import Collector, minute, now_ms, running, until
from testkit.services import ROOT, Service, running_service

SYMBOL = "BTCUSDT"
# With the tree's own common package: pip's copy of it may be older than the service.
ENV = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "common")}


def api(tmp_path: Path, database: Any, redis_settings: Any, **settings: Any) -> Any:
    return running_service(
        "api-server",
        port_name="API_PORT",
        database=database,
        redis=redis_settings,
        log=tmp_path / f"api-{len(list(tmp_path.iterdir()))}.log",
        **settings,
    )


async def get(service: Service, path: str) -> str:
    async with aiohttp.ClientSession() as client, client.get(service.url + path) as response:
        assert response.status == 200
        return await response.text()


async def test_workers_share_the_port_and_their_metrics(
    collector: Collector, database: Any, redis_settings: Any, tmp_path: Path
) -> None:
    await collector.fill([SYMBOL], minutes=5)
    async with api(tmp_path, database, redis_settings, API_WORKERS=2) as service:
        await service.until_healthy()

        async def has_both() -> bool:
            text = await get(service, "/metrics")
            return {'worker="0"', 'worker="1"'} <= set(re.findall(r'worker="\d+"', text))

        await until(has_both)
        text = await get(service, "/metrics")
        assert text.count("# TYPE relay_messages_total counter") == 1
        assert service.process is not None
        children = psutil.Process(service.process.pid).children()
        assert len(children) == 2
    assert not [child for child in children if child.is_running()]


async def test_all_end_when_one_worker_dies(
    collector: Collector, database: Any, redis_settings: Any, tmp_path: Path
) -> None:
    await collector.fill([SYMBOL], minutes=5)
    async with api(tmp_path, database, redis_settings, API_WORKERS=2) as service:
        await service.until_healthy()
        assert service.process is not None
        victim, other = psutil.Process(service.process.pid).children()
        victim.kill()
        assert await asyncio.wait_for(service.process.wait(), 20) == 1
        await until(lambda: not other.is_running())
        service._is_killed = True


async def test_worker_does_not_outlive_its_parent(
    collector: Collector, database: Any, redis_settings: Any, tmp_path: Path
) -> None:
    await collector.fill([SYMBOL], minutes=5)
    async with api(tmp_path, database, redis_settings, API_WORKERS=2) as service:
        await service.until_healthy()
        assert service.process is not None
        children = psutil.Process(service.process.pid).children()
        await service.kill()
        await until(lambda: not [child for child in children if child.is_running()])


async def test_worker_whose_parent_died_before_it_looked_ends(
    database: Any, redis_settings: Any
) -> None:
    """Such a one has another parent from the beginning, and would wait for its death for ever."""
    with TemporaryDirectory() as folder, listening_socket("127.0.0.1", 0) as listener:
        gone = await asyncio.create_subprocess_exec("true")
        await gone.wait()
        settings = Settings(
            database=database,
            redis=redis_settings,
            api_worker=0,
            api_worker_socket=os.dup(listener.fileno()),
            api_worker_folder=Path(folder),
            api_worker_parent=gone.pid,
        )
        async with asyncio.timeout(30):
            with pytest.raises(ExceptionGroup, match="unhandled") as raised:
                await run(settings)
    assert "parent process is gone" in str(raised.value.exceptions[0])


async def test_replicas_answer_and_tell_the_same(
    collector: Collector, database: Any, redis_settings: Any, tmp_path: Path
) -> None:
    await collector.fill([SYMBOL], minutes=70)
    async with (
        api(tmp_path, database, redis_settings) as first,
        api(tmp_path, database, redis_settings) as second,
        aiohttp.ClientSession() as client,
    ):
        await first.until_healthy()
        await second.until_healthy()
        url = f"/ws?symbol={SYMBOL}&timeframe=1H"
        async with (
            client.ws_connect(first.url + url) as a,
            client.ws_connect(second.url + url) as b,
        ):
            assert await a.receive_json() == await b.receive_json()
            newest = minute(SYMBOL, floor_minute_ms(now_ms()))
            await collector.tell(running(newest, trades=newest.trades + 1))
            await collector.tell(newest)
            assert await a.receive_json() == await b.receive_json()
            await collector.tell(running(minute(SYMBOL, newest.open_time_ms + 60_000)))

        async def are_same() -> bool:
            tags = set()
            for service in (first, second):
                query = f"/candles?symbol={SYMBOL}&timeframe=1H&limit=3"
                async with client.get(service.url + query) as response:
                    tags.add(response.headers["ETag"])
            return len(tags) == 1

        await until(are_same)


async def test_stop_closes_the_sockets_with_a_code(
    collector: Collector, database: Any, redis_settings: Any, tmp_path: Path
) -> None:
    await collector.fill([SYMBOL], minutes=5)
    async with (
        api(tmp_path, database, redis_settings) as service,
        aiohttp.ClientSession() as client,
    ):
        await service.until_healthy()
        async with client.ws_connect(f"{service.url}/ws?symbol={SYMBOL}") as socket:
            await socket.receive_json()
            assert service.process is not None
            service.process.send_signal(signal.SIGTERM)
            while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
                pass
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == 1012


@pytest.mark.parametrize(
    ("name", "value"),
    [("API_PORT", "x"), ("WEBSOCKET_UPDATE_INTERVAL", "0.1"), ("API_WORKERS", "0")],
)
async def test_wrong_setting_ends_the_start_and_is_named(name: str, value: str) -> None:
    root = Path(__file__).parents[1]
    env = {**ENV, name: value}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "main.py"),
        cwd=root,
        env=env,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert f"wrong setting {name}={json.dumps(value)[1:-1]!r}" in errors.decode()


async def test_taken_port_is_named(redis_settings: Any, database: Any, tmp_path: Path) -> None:
    async with api(tmp_path, database, redis_settings) as first:
        await first.until_healthy()
        port = first.url.rpartition(":")[2]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "main.py"),
            cwd=Path(__file__).parents[1],
            env={**ENV, "API_PORT": port},
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in errors.decode()
