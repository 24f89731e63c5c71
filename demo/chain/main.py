# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Start the local chain: ``python main.py`` (see readme.md)."""

import sys

from localchain.service import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
