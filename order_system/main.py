# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Start the order system: ``python main.py api`` or ``python main.py events``."""

import sys

from orders.service import run

if __name__ == "__main__":
    run(sys.argv[1:])
