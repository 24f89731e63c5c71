# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

import asyncpg
import pytest
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from linkora import pubsub
from linkora.database import transient_errors
from linkora.errors import TransientError

CLOSED = RuntimeError(
    "unable to perform operation on <TCPTransport closed=True>; the handler is closed"
)
BROKEN = [
    CLOSED,  # uvloop's own words
    ConnectionResetError("reset"),
    asyncpg.ConnectionDoesNotExistError("gone"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.IdleInTransactionSessionTimeoutError("too long"),
]


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
def test_a_broken_connection_is_a_passing_trouble(error: Exception) -> None:
    with pytest.raises(TransientError), transient_errors():
        raise error


def test_a_wrong_statement_is_none() -> None:
    with pytest.raises(asyncpg.UndefinedColumnError), transient_errors():
        raise asyncpg.UndefinedColumnError("no such column")


@pytest.mark.parametrize("translation", [transient_errors, pubsub.transient_errors])
async def test_only_a_closed_connection_makes_a_runtime_error_a_passing_trouble(
    translation: Callable[[], AbstractContextManager[None]],
) -> None:
    with pytest.raises(TransientError), translation():
        raise CLOSED
    with pytest.raises(RuntimeError), translation():
        raise RuntimeError("our own mistake")


@pytest.mark.parametrize(
    ("error", "translation"),
    [
        *((error, transient_errors) for error in BROKEN),
        (RedisTimeoutError("no answer"), pubsub.transient_errors),
        (ReadOnlyError("a replica"), pubsub.transient_errors),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_cancelled_task_ends_although_its_connection_breaks_on_the_way_out(
    error: Exception, translation: Callable[[], AbstractContextManager[None]]
) -> None:
    entered = asyncio.Event()

    async def retry_for_ever() -> None:
        while True:
            try:
                with translation():
                    try:
                        entered.set()
                        await asyncio.Event().wait()
                    finally:
                        raise error  # what a rollback does then
            except TransientError:
                await asyncio.sleep(0)

    task = asyncio.create_task(retry_for_ever())
    await entered.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=1)
    assert task in done
    assert task.cancelled()
