# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What tests that run the Compose files share: images built once, health asked for more often."""

import fcntl
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

HEALTH_INTERVAL_S = 2
"""Between health checks; in the Compose files it is 5, and every start would wait for that."""


@contextmanager
def building() -> Iterator[None]:
    """Wait until nobody else on this machine builds: what is built once is then at hand."""
    with Path(tempfile.gettempdir(), "linkora-images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def impatient(services: Iterable[str]) -> str:
    """Return lines for a Compose file's ``services`` that have health checked more often."""
    return "".join(
        f"  {service}: {{healthcheck: {{interval: {HEALTH_INTERVAL_S}s}}}}\n"
        for service in services
    )
