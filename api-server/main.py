# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Start the API server: ``python main.py``, configured by the environment."""

from linkora.runtime import start
from marketdata.service import run
from marketdata.settings import Settings

if __name__ == "__main__":
    start("api-server", Settings, run)
