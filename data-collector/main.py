# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Starts the data collector: ``python main.py``."""

from collector.service import run
from collector.settings import Settings
from linkora.runtime import start

if __name__ == "__main__":
    start("data-collector", Settings, run)
