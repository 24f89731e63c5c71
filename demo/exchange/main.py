# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Start the exchange simulator: ``python main.py [--port N] [--replay FILE] …``."""

from linkora.runtime import start
from simulator.service import run
from simulator.settings import CommandLine

if __name__ == "__main__":
    start("exchange", CommandLine, run)
