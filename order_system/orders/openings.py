# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""One read for all who ask for the same at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar, cast

from linkora.errors import TransientError

T = TypeVar("T")


class _Read(Generic[T]):
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.began = 0
        self.result: T | None = None
        self.error: TransientError | None = None


class SharedReads(Generic[T]):
    """Lets whoever asks while a read is under way share the next one.

    The one under way may have begun before something happened that who asks now did not hear of,
    so it is not good enough; one that begins after the question is. However many ask at once,
    each waits for two reads at most.
    """

    def __init__(self) -> None:
        self._count = 0
        self._reads: dict[Hashable, _Read[T]] = {}

    async def get(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Return what ``read`` returns, or what it returned to another who asked for ``key``.

        Raises:
            TransientError: If it does so, to all who share it.
        """
        self._count += 1
        asked = self._count
        shared = self._reads.setdefault(key, _Read())
        shared.waiting += 1
        try:
            async with shared.lock:
                if shared.began < asked:
                    await self._read(shared, read)
                if shared.error is not None:
                    raise shared.error
                return cast("T", shared.result)
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                del self._reads[key]

    async def _read(self, shared: _Read[T], read: Callable[[], Awaitable[T]]) -> None:
        self._count += 1
        began = self._count
        try:
            shared.result, shared.error = await read(), None
        except TransientError as error:
            shared.error = error
        shared.began = began  # not if this was cancelled: then the next one reads
