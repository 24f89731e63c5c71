# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The simulator as a process."""

import asyncio

from simulator.server import Server
from simulator.settings import Settings


async def run(settings: Settings) -> None:
    """Serve the exchange until cancelled; a failure of its streams ends it too."""
    async with Server(settings):
        await asyncio.Event().wait()
