# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import contextlib

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from pydantic import SecretStr, ValidationError

from linkora.health import Health
from linkora.settings import AlertSettings, ServiceSettings, load
from linkora.watch import watch_over
from testkit.postgres import connect
from testkit.redis_server import private_redis
from testkit.services import until

FAST = {"after_s": 0.2, "calm_s": 0.1, "check_interval_s": 0.02}


class Webhook:
    """Receives alerts as a chat service would."""

    def __init__(self):
        self.bodies = []
        self.answers = []
        self.url = ""

    async def take(self, request):
        self.bodies.append(await request.json())
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    def told(self):
        return [(body["alert"], body["status"]) for body in self.bodies]


@pytest.fixture
async def webhook():
    hook = Webhook()
    app = web.Application()
    app.router.add_post("/hook", hook.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/hook"
    yield hook
    await runner.cleanup()


def settings_of(database, redis, url, **changes):
    alerts = AlertSettings(webhook_url=SecretStr(url), **{**FAST, **changes})
    return ServiceSettings(database=database, redis=redis, alerts=alerts)


@contextlib.asynccontextmanager
async def watched(settings, *pairs):
    tasks = [
        asyncio.create_task(watch_over(settings, service, CollectorRegistry(), health))
        for service, health in pairs
    ]
    try:
        yield
    finally:
        for task in tasks:
            assert not task.done(), task
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_replicas_tell_one_trouble_once_and_its_end_once(database, redis_settings, webhook):
    one, two = Health(), Health()
    settings = settings_of(database, redis_settings, webhook.url)
    async with watched(settings, ("api-server", one), ("data-collector", two)):
        for health in (one, two):
            health.down("database", "refused")
        await until(lambda: len(webhook.bodies) >= 1, 20)
        await asyncio.sleep(0.4)
        assert webhook.told() == [("database", "firing")]
        for health in (one, two):
            health.up("database")
        await until(lambda: len(webhook.bodies) >= 2, 20)
        await asyncio.sleep(0.3)
    assert webhook.told() == [("database", "firing"), ("database", "resolved")]
    assert "refused" in webhook.bodies[0]["text"]


async def test_while_redis_is_away_each_process_speaks_for_itself(database, webhook):
    with private_redis() as server:
        settings = settings_of(database, server.settings(), webhook.url)
        server.stop()
        health = Health()
        async with watched(settings, ("api-server", health)):
            health.down("redis", "refused")
            await until(lambda: webhook.told() == [("redis", "firing")], 20)
            server.start()
            health.up("redis")
            await until(lambda: len(webhook.bodies) == 2, 20)
    assert webhook.told() == [("redis", "firing"), ("redis", "resolved")]


async def test_a_new_process_tells_the_end_of_what_the_old_one_called_out(
    database, redis_settings, webhook
):
    settings = settings_of(database, redis_settings, webhook.url)
    before, after = Health(), Health()
    async with watched(settings, ("data-collector", before)):
        before.down("exchange", "HTTP 418")
        await until(lambda: len(webhook.bodies) == 1, 20)
    async with watched(settings, ("data-collector", after)):
        after.up("exchange")
        await until(lambda: len(webhook.bodies) == 2, 20)
        await asyncio.sleep(0.2)
    assert webhook.told() == [
        ("data-collector:exchange", "firing"),
        ("data-collector:exchange", "resolved"),
    ]


async def test_a_webhook_that_fails_at_first_gets_the_alert_again(
    database, redis_settings, webhook
):
    webhook.answers = [500]
    health = Health()
    async with watched(settings_of(database, redis_settings, webhook.url), ("api-server", health)):
        health.down("database", "refused")
        await until(lambda: len(webhook.bodies) == 2, 8)
    assert webhook.told() == [("database", "firing")] * 2


async def test_a_died_service_is_missed_by_the_others(
    database, redis_settings, webhook, monkeypatch
):
    monkeypatch.setattr("linkora.watch.FIGURES_INTERVAL_S", 0.1)
    with connect(database) as connection:
        connection.execute(
            "INSERT INTO service_metrics VALUES"
            " (now() - interval '5 minutes', 'data-collector', 'a', 'healthy', 1)"
        )
        settings = settings_of(database, redis_settings, webhook.url)
        async with watched(settings, ("api-server", Health())):
            await until(lambda: len(webhook.bodies) == 1, 20)
            connection.execute("SELECT record_figures('data-collector', 'a', '{\"healthy\": 1}')")
            await until(lambda: len(webhook.bodies) == 2, 20)
    assert webhook.told() == [
        ("silent:data-collector", "firing"),
        ("silent:data-collector", "resolved"),
    ]


async def test_figures_are_kept_in_the_database(database, redis_settings):
    settings = ServiceSettings(database=database, redis=redis_settings)
    health = Health()
    health.up("redis")

    def kept():
        with connect(database) as connection:
            query = "SELECT service, metric, value FROM service_metrics ORDER BY metric"
            return connection.execute(query).fetchall()

    async with watched(settings, ("api-server", health)):
        await until(lambda: bool(kept()), 20)
    (size, *rest) = kept()
    assert size[:2] == ("api-server", "database_size_bytes")
    assert size[2] > 5_000_000
    assert rest == [("api-server", "healthy", 1.0), ("api-server", "healthy_redis", 1.0)]


def test_a_wrong_webhook_address_is_refused_without_showing_it(monkeypatch, capsys):
    monkeypatch.setenv("ALERT_WEBHOOK_URL", "hooks.example/T0P-S3CRET")
    with pytest.raises(SystemExit):
        load(AlertSettings)
    told = capsys.readouterr().err
    assert "ALERT_WEBHOOK_URL" in told
    assert "S3CRET" not in told


def test_the_webhook_address_is_never_printed():
    settings = AlertSettings(webhook_url=SecretStr("https://hooks.example/T0P-S3CRET"))
    assert "S3CRET" not in repr(settings)
    with pytest.raises(ValidationError):
        AlertSettings(webhook_url=SecretStr("ftp://hooks.example"))
