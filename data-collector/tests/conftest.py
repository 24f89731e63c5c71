# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from collections.abc import Callable
from typing import Any

import pytest

from collector.clock import ExchangeClock
from collector.metrics import CollectorMetrics
from collector.settings import Settings
from collector.surroundings import Surroundings
from linkora.health import Health
from linkora.metrics import new_registry

NOW = 1_700_000_000_000 // 60_000 * 60_000 + 20_000


@pytest.fixture
def make_around() -> Callable[..., Surroundings]:
    """Surroundings 20 s into a minute of November 2023, with some settings changed."""

    def make(**settings: Any) -> Surroundings:
        clock = ExchangeClock()
        clock.set(NOW)
        return Surroundings(clock, Settings(**settings), Health(), CollectorMetrics(new_registry()))

    return make
