# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Several processes behind one port: the parent listens, the workers accept and serve.

The workers share nothing but the listening socket and a folder where each leaves its metrics, so
that whichever is asked answers for all. When one ends, all end: whoever supervises us starts a
whole set again.
"""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from linkora import metrics
from linkora.runtime import listening_socket
from marketdata.settings import Settings, worker_environment

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 15.0
METRICS_INTERVAL_S = 1.0
PARENT_INTERVAL_S = 1.0


async def run_workers(
    settings: Settings, on_listening: Callable[[int], None] | None = None
) -> None:
    """Run ``api_workers`` copies of this program until cancelled.

    Raises:
        RuntimeError: If a worker ends by itself.
    """
    with (
        listening_socket(settings.api_host, settings.api_port) as listener,
        TemporaryDirectory(prefix="linkora-api-") as folder,
    ):
        if on_listening:
            on_listening(listener.getsockname()[1])
        workers = [
            await _start(listener, Path(folder), number) for number in range(settings.api_workers)
        ]
        log.info("workers_started", count=len(workers))
        waits = [asyncio.create_task(worker.wait()) for worker in workers]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            raise RuntimeError("a worker ended")
        finally:
            await _stop(workers, waits)


async def _start(listener: socket.socket, folder: Path, number: int) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parents[1] / "main.py"),
        env=worker_environment(listener.fileno(), folder, number),
        pass_fds=[listener.fileno()],
    )


async def _stop(workers: list[Process], waits: list["asyncio.Task[int]"]) -> None:
    for worker in workers:
        with suppress(ProcessLookupError):
            worker.send_signal(signal.SIGTERM)
    _, late = await asyncio.wait(waits, timeout=STOP_TIMEOUT_S)
    for worker, wait in zip(workers, waits, strict=True):
        if wait in late:
            with suppress(ProcessLookupError):
                worker.kill()
    await asyncio.wait(waits)


async def watch_parent(parent: int) -> None:
    """Return nothing for as long as the parent lives.

    Args:
        parent: Its number, told by itself: it may have died before we could ask.

    Raises:
        RuntimeError: Once it is gone.
    """
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells of a parent's death
        await asyncio.sleep(PARENT_INTERVAL_S)
    raise RuntimeError("the parent process is gone")


class SharedMetrics:
    """The metrics of all workers: each leaves its own in the folder, and reads the others'.

    Args:
        registry: This worker's metrics.
        folder: Where the workers meet.
        worker: This worker's number.
    """

    def __init__(self, registry: CollectorRegistry, folder: Path, worker: int) -> None:
        self._own = registry
        self._folder = folder
        self._worker = worker

    async def keep(self) -> None:
        """Leave this worker's metrics in the folder, for ever."""
        path = self._folder / f"worker-{self._worker}.prom"
        while True:
            draft = path.with_suffix(".draft")
            draft.write_bytes(metrics.render(self._own))
            draft.replace(path)
            await asyncio.sleep(METRICS_INTERVAL_S)

    def collect(self) -> Iterator[Metric]:
        """Yield the families of all workers, each sample with the label ``worker``."""
        texts = {
            path.stem.removeprefix("worker-"): path.read_text()
            for path in sorted(self._folder.glob("worker-*.prom"))
        }
        texts[str(self._worker)] = metrics.render(self._own).decode()
        families: dict[str, Metric] = {}
        for worker, text in texts.items():
            for family in text_string_to_metric_families(text):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                merged.samples += _labelled(family, worker)
        yield from families.values()


def _labelled(family: Metric, worker: str) -> Iterable[Sample]:
    for sample in family.samples:
        yield sample._replace(labels={**sample.labels, "worker": worker})
