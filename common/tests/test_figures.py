# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import time
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from linkora.errors import TransientError
from linkora.figure_store import FigureStore
from linkora.figures import MAX_FIGURES, take_figures
from linkora.health import Health
from linkora.metrics import new_registry
from testkit.postgres import connect

NOW_MS = 1_700_000_000_000 // 60_000 * 60_000


def test_counters_are_summed_and_gauges_show_the_largest_over_their_labels():
    registry, health = CollectorRegistry(), Health()
    stored = Counter("stored", "", ["source"], registry=registry)
    stored.labels("live").inc(3)
    stored.labels("history").inc(4)
    lag = Gauge("lag_seconds", "", ["symbol"], registry=registry)
    lag.labels("BTCUSDT").set(0.5)
    lag.labels("ETHUSDT").set(2.5)
    seconds = Histogram("write_seconds", "", registry=registry)
    seconds.observe(0.25)
    seconds.observe(0.5)
    health.up("redis")
    health.down("database", "away")
    assert take_figures(registry, health) == {
        "healthy": 0,
        "healthy_redis": 1,
        "healthy_database": 0,
        "stored_total": 7,
        "lag_seconds": 2.5,
        "write_seconds_count": 2,
        "write_seconds_sum": 0.75,
    }


def test_of_the_process_itself_only_the_main_figures_are_taken():
    figures = take_figures(new_registry(), Health())
    assert figures["process_resident_memory_bytes"] > 1_000_000
    assert figures["process_cpu_seconds_total"] > 0
    assert not any(name.startswith("python_") for name in figures)


def test_a_gauge_that_knows_nothing_is_left_out_and_the_number_is_bounded():
    registry = CollectorRegistry()
    Gauge("unknown", "", registry=registry).set(float("nan"))
    for number in range(MAX_FIGURES + 5):
        Gauge(f"figure_{number}", "", registry=registry).set(number)
    figures = take_figures(registry, Health())
    assert "unknown" not in figures
    assert len(figures) == MAX_FIGURES


def insert(settings, *rows):
    with connect(settings) as connection:
        for minutes_ago, service, instance, metric, value in rows:
            moment = datetime.fromtimestamp(NOW_MS / 1000, UTC) - timedelta(minutes=minutes_ago)
            connection.execute(
                "INSERT INTO service_metrics VALUES (%s, %s, %s, %s, %s)",
                (moment, service, instance, metric, value),
            )


async def test_history_gives_buckets_with_mean_and_extremes(either_database, either_pool):
    service = f"history-{time.monotonic_ns()}"
    insert(
        either_database,
        (1, service, "a", "lag", 1.0),
        (2, service, "a", "lag", 3.0),
        (10, service, "a", "lag", 8.0),
        (1, service, "b", "lag", 7.0),
        (1, service, "a", "other", 9.0),
    )
    points = await FigureStore(either_pool).history(
        service, ["lag"], start_ms=NOW_MS - 3_600_000, end_ms=NOW_MS, step_s=300,
        instance="a", limit=100,
    )  # fmt: skip
    by_bucket = [(p.value, p.min, p.max) for p in points]
    assert by_bucket[0] == (8.0, 8.0, 8.0)
    assert sum(p.max - p.min for p in points) in {0.0, 2.0}  # one bucket of two, or two of one
    assert all(p.timestamp % 300_000 == 0 and p.instance == "a" for p in points)


async def test_what_is_recorded_twice_in_a_minute_is_kept_once(either_pool):
    store, service = FigureStore(either_pool), f"twice-{time.monotonic_ns()}"
    now_ms = time.time_ns() // 1_000_000
    await store.record(service, "a", {"healthy": 1, "lag": 5.5})
    await store.record(service, "a", {"healthy": 0, "lag": 6.5})
    points = await store.history(
        service, ["lag"], start_ms=now_ms - 120_000, end_ms=now_ms + 120_000, step_s=60, limit=9
    )
    assert points[-1].value == 6.5
    assert (await store.catalogue())[service] == ["healthy", "lag"]


async def test_a_service_that_stopped_writing_is_silent_and_a_long_gone_one_is_not(database, pool):
    with connect(database) as connection:
        for service, ago in (("here", "1 minute"), ("died", "10 minutes"), ("gone", "2 days")):
            connection.execute(
                "INSERT INTO service_metrics VALUES (now() - %s::interval, %s, 'a', 'healthy', 1)",
                (ago, service),
            )
    silent = await FigureStore(pool).silent_services(180)
    assert silent.keys() == {"died"}
    assert 590_000 < time.time() * 1000 - silent["died"] < 660_000


async def test_a_database_without_the_function_means_later(empty_database):
    from linkora.database import open_pool

    async with open_pool(empty_database, name="tests") as pool:
        with pytest.raises(TransientError):
            await FigureStore(pool).record("api-server", "a", {"healthy": 1})
