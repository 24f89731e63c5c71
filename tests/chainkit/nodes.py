# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The two kinds of node that scenarios are played on: Anvil, and Hardhat's poorer one."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from localchain.testing import Chain, anvil_chain, hardhat_chain

OPENERS: dict[str, Callable[[], AbstractAsyncContextManager[Chain]]] = {
    "anvil": anvil_chain,
    "hardhat": hardhat_chain,
}
on_both_nodes = pytest.mark.parametrize("chain", OPENERS, indirect=True)
"""For tests that ask for ``chain``, or for what is made of it."""
