# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The main figures of a process, as one number each: what its metrics say, without labels."""

import math
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric

from linkora.health import Health

MAX_FIGURES = 200
_OF_THE_PROCESS = {
    "process_cpu_seconds": "process_cpu_seconds_total",
    "process_open_fds": "process_open_fds",
    "process_resident_memory_bytes": "process_resident_memory_bytes",
}
_LEFT_OUT = ("process_", "python_")


def take_figures(registry: CollectorRegistry, health: Health) -> dict[str, float]:
    """Return the figures by name, at most ``MAX_FIGURES``.

    A counter is the sum over its labels since the start of the process (``..._total``), a gauge
    the largest value over its labels, a histogram its count and its sum (``..._count``,
    ``..._sum``). ``healthy`` and ``healthy_<component>`` are 1 or 0.
    """
    figures = {"healthy": float(health.is_healthy)}
    figures |= {f"healthy_{name}": float(is_up) for name, is_up in health.states().items()}
    for family in registry.collect():
        for name, value in _of_family(family):
            if math.isfinite(value) and len(figures) < MAX_FIGURES:
                figures[name] = value
    return figures


def _of_family(family: Metric) -> Iterable[tuple[str, float]]:
    if family.name in _OF_THE_PROCESS:
        yield _OF_THE_PROCESS[family.name], family.samples[0].value
    elif not family.samples or family.name.startswith(_LEFT_OUT):
        return
    elif family.type == "gauge":
        yield family.name, max(sample.value for sample in family.samples)
    elif family.type in {"counter", "histogram", "summary"}:
        for ending in ("_total", "_count", "_sum"):
            values = [s.value for s in family.samples if s.name == family.name + ending]
            if values:
                yield family.name + ending, math.fsum(values)
