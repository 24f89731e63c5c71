# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A chain, a scanner on it and a database under it."""

import pytest
from chainkit.rig import open_rig

from localchain.testing import anvil_chain


@pytest.fixture
async def chain():
    """A fresh Anvil with the laboratory's contract."""
    async with anvil_chain() as running:
        yield running


@pytest.fixture
async def rig(chain, pool):
    """A scanner of ``chain`` that writes into ``pool``."""
    async with open_rig(chain.rpc_url, chain.address, pool) as opened:
        yield opened
