# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Redis as the place where committed news is told: one publisher a channel, any readers.

Pub/sub forgets: what is published while a reader is away is lost to it. So each message carries
its place in the channel (``linkora.messages.Position``), and a reader is told when it was away.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from linkora.backoff import Backoff, retry
from linkora.cancellation import give_way_to_cancellation, kept_cancellation
from linkora.errors import TransientError, is_of_closed_transport
from linkora.messages import Position
from linkora.settings import RedisSettings

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 5.0
# A reader that hears nothing for this long asks the server whether it is still there.
SILENCE_S = 10.0
# However long Redis was away: whoever follows live data waits no longer than this for its return.
LONGEST_RECONNECT_S = 2.0


@asynccontextmanager
async def open_redis(settings: RedisSettings) -> AsyncIterator["Redis"]:
    """Yield a client that connects on first use and never retries by itself."""
    client = Redis(
        host=settings.host,
        port=settings.port,
        username=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield client
    finally:
        await client.aclose()


@contextmanager
def transient_errors() -> Any:
    """Turn Redis' passing troubles into ``TransientError``; cancelled tasks end all the same."""
    try:
        with kept_cancellation():
            yield
    except (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError) as error:
        give_way_to_cancellation(error)
        raise TransientError(f"redis: {type(error).__name__}: {error}") from error
    except RuntimeError as error:
        if not is_of_closed_transport(error):
            raise
        give_way_to_cancellation(error)
        raise TransientError(f"redis: {error}") from error
    except RedisError as error:
        # LOADING, READONLY, MISCONF, NOAUTH: an operator's matter, and it passes.
        give_way_to_cancellation(error)
        raise TransientError(f"redis: {error}") from error


class Publisher:
    """Publishes encoded messages, each with its place in its channel.

    A message that Redis did not take is lost, and its number with it, so that every reader sees
    the hole. Whoever publishes while another call is under way waits for it: on two connections
    the later message could arrive first, and a reader would see a hole that is none.
    """

    def __init__(self, redis: "Redis", epoch: int | None = None) -> None:
        self._redis = redis
        self._epoch = epoch if epoch is not None else time.time_ns() // 1_000
        self._last_seq: dict[str, int] = {}
        self._turn = asyncio.Lock()

    async def publish(self, messages: Sequence[tuple[str, Callable[[Position], bytes]]]) -> None:
        """Publish ``(channel, encode)`` pairs in order, in one round trip.

        Raises:
            TransientError: If Redis is away; the messages are lost, their numbers used.
        """
        async with self._turn:
            payloads = [(channel, encode(self._next(channel))) for channel, encode in messages]
            with transient_errors():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for channel, payload in payloads:
                        pipe.publish(channel, payload)
                    await pipe.execute()

    def skip(self, channel: str) -> None:
        """Leave one number of ``channel`` out, which makes its readers look into the database."""
        self._next(channel)

    def _next(self, channel: str) -> Position:
        seq = self._last_seq.get(channel, 0) + 1
        self._last_seq[channel] = seq
        return Position(seq, self._epoch)


class Subscribed(msgspec.Struct, frozen=True):
    """The reader is connected now and hears everything from here on; before, it may not have."""


async def listen(
    redis: "Redis",
    channels: Sequence[str],
    *,
    on_error: Callable[[TransientError], None],
) -> AsyncIterator[bytes | Subscribed]:
    """Yield ``Subscribed`` after each (re)connection, then the payloads, for ever.

    Args:
        redis: A client; the subscription uses a connection of its own.
        channels: The channels to read.
        on_error: Told whenever Redis is away.
    """
    backoff = Backoff(longest_s=LONGEST_RECONNECT_S)
    while True:
        try:
            async with redis.pubsub() as pubsub:
                await retry(
                    lambda: _subscribe(pubsub, channels),
                    on_error=on_error,
                    backoff=backoff,
                )
                yield Subscribed()
                async for payload in _payloads(pubsub):
                    yield payload
        except TransientError as error:
            on_error(error)
            await asyncio.sleep(backoff.next_delay_s())


async def _subscribe(pubsub: Any, channels: Sequence[str]) -> None:
    with transient_errors():
        await pubsub.subscribe(*channels)
        for _ in channels:  # each channel is confirmed by a message of its own
            confirmation = await pubsub.get_message(timeout=ANSWER_TIMEOUT_S)
            if confirmation is None or confirmation["type"] != "subscribe":
                raise TransientError(f"redis: no confirmation but {confirmation!r}")


async def _payloads(pubsub: Any) -> AsyncIterator[bytes]:
    is_waiting_for_pong = False
    while True:
        with transient_errors():
            message = await pubsub.get_message(timeout=SILENCE_S)
            if message is None:
                if is_waiting_for_pong:
                    raise TransientError("redis: the subscription is silent")
                await pubsub.ping()
                is_waiting_for_pong = True
                continue
        is_waiting_for_pong = False
        if message["type"] == "message":
            yield message["data"]
