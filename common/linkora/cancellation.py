# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A task that is told to end does so, whatever breaks while it leaves."""

import asyncio


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
