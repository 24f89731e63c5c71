# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A task that is told to end does so, whatever breaks while it leaves."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_cancellation() -> Iterator[None]:
    """Let no block of code swallow the cancellation of the current task.

    Until Python 3.12 ``asyncio.wait_for`` does: it returns the result if that came in the same
    moment. redis sends every command by it, and a task that is cancelled then would go on for ever.

    Raises:
        asyncio.CancelledError: If the task was cancelled within the block and nothing was raised.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    yield
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


def give_way_to_cancellation(error: BaseException) -> None:
    """Raise the cancellation of the current task, if ``error`` came in its place.

    A connection that breaks while a cancelled task gives it back raises an error of its own:
    nobody shall take that for a reason to go on.

    Raises:
        asyncio.CancelledError: If the task was cancelled.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return  # no loop runs here
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
