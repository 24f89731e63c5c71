# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A chain, a scanner on it and a database under it."""

import pytest
from chainkit.nodes import OPENERS
from chainkit.rig import open_rig


@pytest.fixture
async def chain(request):
    """A fresh node with the laboratory's contract: Anvil, or what `on_both_nodes` asks for."""
    async with OPENERS[getattr(request, "param", "anvil")]() as running:
        yield running


@pytest.fixture
async def rig(chain, pool):
    """A scanner of ``chain`` that writes into ``pool``."""
    async with open_rig(chain.rpc_url, chain.address, pool) as opened:
        yield opened
