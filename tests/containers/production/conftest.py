# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The production suite, up once for all tests of this folder."""

from collections.abc import Iterator

import pytest

from testkit.images import building
from testkit.production import Production


@pytest.fixture(scope="package")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    suite = Production(tmp_path_factory.mktemp("production"))
    suite.script("make_secrets.sh")
    suite.script("make_certificate.sh")
    with building():
        suite.run("build", "-q")
    try:
        suite.run("up", "-d", "--no-build", "--wait")
        yield suite
    finally:
        suite.run("down", "-v", "--remove-orphans", "-t", "10")
