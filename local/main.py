# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The suite on one machine without Docker; ``../run_local.sh`` makes the venv and calls this."""

import sys

from localrun.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
