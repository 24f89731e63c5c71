# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Wait for the database, apply every migration, exit 0: ``python main.py``."""

from linkora.settings import load
from schema.service import run
from schema.settings import Settings

if __name__ == "__main__":
    run(load(Settings))
