# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from types import SimpleNamespace
from typing import ClassVar

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from linkora import backoff, pubsub
from linkora.errors import TransientError
from linkora.messages import Position
from linkora.pubsub import Publisher, Subscribed, listen, open_redis
from linkora.settings import RedisSettings
from testkit.redis_server import private_redis


def place(position: Position) -> bytes:
    return f"{position.epoch}:{position.seq}".encode()


async def heard(reader, count: int) -> list[bytes | Subscribed]:
    async with asyncio.timeout(20):
        return [await anext(reader) for _ in range(count)]


async def test_a_reader_hears_every_message_after_it_has_subscribed(redis_settings):
    async with (
        open_redis(redis_settings) as redis,
        aclosing(listen(redis, ["a", "b"], on_error=pytest.fail)) as reader,
    ):
        assert await heard(reader, 1) == [Subscribed()]
        publisher = Publisher(redis, epoch=7)
        await publisher.publish([("a", place), ("b", place), ("a", place)])
        assert await heard(reader, 3) == [b"7:1", b"7:1", b"7:2"]


async def test_a_number_left_out_is_a_hole_in_one_channel_only(redis_settings):
    async with (
        open_redis(redis_settings) as redis,
        aclosing(listen(redis, ["a", "b"], on_error=pytest.fail)) as reader,
    ):
        await heard(reader, 1)
        publisher = Publisher(redis, epoch=7)
        publisher.skip("a")
        await publisher.publish([("a", place), ("b", place)])
        assert await heard(reader, 2) == [b"7:2", b"7:1"]


async def test_an_outage_is_told_to_both_sides_and_ends_by_itself():
    errors: list[TransientError] = []
    with private_redis() as server:
        async with open_redis(server.settings()) as redis:
            publisher = Publisher(redis, epoch=7)
            async with aclosing(listen(redis, ["a"], on_error=errors.append)) as reader:
                await heard(reader, 1)
                server.kill()
                with pytest.raises(TransientError):
                    await publisher.publish([("a", place)])
                again = asyncio.ensure_future(heard(reader, 1))
                await asyncio.sleep(0.3)
                server.start()
                assert await again == [Subscribed()]
                await publisher.publish([("a", place)])
                assert await heard(reader, 1) == [b"7:2"]
    assert errors


async def test_the_return_of_redis_is_noticed_soon_however_long_it_was_away(
    monkeypatch: pytest.MonkeyPatch,
):
    waited: list[float] = []
    errors: list[TransientError] = []
    monkeypatch.setattr(backoff, "asyncio", SimpleNamespace(sleep=quickly(waited)))
    async with open_redis(RedisSettings(port=1)) as redis:
        with pytest.raises(TimeoutError):
            async with (
                asyncio.timeout(30),
                aclosing(listen(redis, ["a"], on_error=errors.append)) as reader,
            ):
                await anext(reader)
    assert len(errors) > 50
    assert max(waited) <= 2


async def test_a_redis_that_drops_every_subscription_at_once_is_not_asked_without_a_pause(
    monkeypatch: pytest.MonkeyPatch,
):
    """It answers, so nothing has failed: only the pause after the loss keeps it from a storm."""
    waited: list[float] = []
    errors: list[TransientError] = []
    monkeypatch.setattr(pubsub, "asyncio", SimpleNamespace(sleep=quickly(waited, most=3)))
    redis = SimpleNamespace(pubsub=DroppedSubscription)
    reader = listen(redis, ["a"], on_error=errors.append)
    async with asyncio.timeout(30), aclosing(reader):
        for _ in range(3):
            assert await anext(reader) == Subscribed()
        assert len(errors) == len(waited) == 2
        assert 0 < max(waited) <= 2


class DroppedSubscription:
    """A subscription that is confirmed and then lost."""

    def __init__(self) -> None:
        self._is_confirmed = False

    async def __aenter__(self) -> "DroppedSubscription":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def subscribe(self, *channels: str) -> None: ...

    async def get_message(self, timeout: float) -> dict[str, str]:  # noqa: ASYNC109 - redis' own
        if self._is_confirmed:
            raise RedisConnectionError("dropped")
        self._is_confirmed = True
        return {"type": "subscribe"}


def quickly(waited: list[float], most: int = 50) -> Callable[[float], Awaitable[None]]:
    """Return a sleep that takes no time, until it has been asked for often."""

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) > most:
            raise TimeoutError

    return sleep


class SlowPipeline:
    """A pipeline whose first execution takes a while, as on a connection of its own."""

    sent: ClassVar[list[bytes]] = []
    is_first: ClassVar[bool] = True

    def __init__(self) -> None:
        self._payloads: list[bytes] = []

    async def __aenter__(self) -> "SlowPipeline":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def publish(self, channel: str, payload: bytes) -> None:
        self._payloads.append(payload)

    async def execute(self) -> None:
        delay_s, SlowPipeline.is_first = (0.2 if self.is_first else 0), False
        await asyncio.sleep(delay_s)
        self.sent.extend(self._payloads)


async def test_publishers_of_one_channel_do_not_overtake_each_other():
    redis = SimpleNamespace(pipeline=lambda transaction: SlowPipeline())
    publisher = Publisher(redis, epoch=7)
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(publisher.publish([("a", place)]))
    assert SlowPipeline.sent == [b"7:1", b"7:2", b"7:3"]


@pytest.mark.parametrize("steps", range(12))
async def test_a_publisher_ends_in_whatever_moment_it_is_cancelled(redis_settings, steps):
    async with open_redis(redis_settings) as redis:
        publisher = Publisher(redis)

        async def publish_for_ever() -> None:
            while True:
                await asyncio.sleep(0.01)
                await publisher.publish([("a", place)])

        for _ in range(5):
            task = asyncio.create_task(publish_for_ever())
            await asyncio.sleep(0.01)
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=5)
            if not done:
                task.cancel()
                await asyncio.wait([task], timeout=5)
            assert done, "it goes on"
