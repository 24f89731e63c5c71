# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What stops a start."""


class StartError(Exception):
    """The suite cannot start; the message says why and what to do, in a line or a few."""
