# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What every loop of the process works with."""

from typing import NamedTuple

import structlog

from collector.clock import ExchangeClock
from collector.metrics import CollectorMetrics
from collector.settings import Settings
from linkora.errors import TransientError
from linkora.health import Health

log = structlog.get_logger(__name__)


class Surroundings(NamedTuple):
    """The exchange's clock, the settings, and where troubles are told."""

    clock: ExchangeClock
    settings: Settings
    health: Health
    metrics: CollectorMetrics

    def lost(self, neighbour: str, error: TransientError) -> None:
        """Note that a neighbour is away; a line in the log when it is news."""
        if self.health.down(neighbour, str(error)):
            log.warning("neighbour_lost", neighbour=neighbour, reason=str(error))

    def found(self, neighbour: str) -> None:
        """Note that a neighbour answers; a line in the log when it is news."""
        if self.health.up(neighbour):
            log.info("neighbour_found", neighbour=neighbour)
