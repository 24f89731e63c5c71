# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which tests one worker of pytest-xdist keeps together: those that share something started."""

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

# One running product for all files of the folder.
ONE_SUITE = ("tests/browser", "tests/containers/production")


class LoadSuiteScheduling(LoadFileScheduling):  # type: ignore[misc]
    """Hands out files, and these folders as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((folder for folder in ONE_SUITE if file.startswith(f"{folder}/")), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadSuiteScheduling:
    """Take the place of ``--dist``."""
    return LoadSuiteScheduling(config, log)
