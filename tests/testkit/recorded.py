# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Recorded exchange traffic, which lies beside the project and is no part of it."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "binance"


def recorded(name: str) -> Path:
    """Return the path of a recording, or skip the test and say loudly what is missing."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"NOT RUN: the recorded capture {path} is not on this machine")
    return path
