# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which blocks count as final, which are read, and when a lower head is believed. Pure."""

from orders.chain.blocks import Tip
from orders.ports import Limits

FINALITY_DEPTH = 64
"""Depth that counts as final where the node does not tell: on a local chain (as Anvil does it),
or where it does not know the tag."""
LOWER_HEAD_POLLS_LOCAL = 3
LOWER_HEAD_POLLS = 30
"""A lagging node behind a load balancer looks like a chain that was cut: be slow to believe it."""


def finalized(tip: Tip, limits: Limits, *, is_local_chain: bool) -> int:
    """Return the newest block that counts as final."""
    if limits.finality_depth is not None:
        return max(0, tip.head.number - limits.finality_depth)
    if is_local_chain or tip.finalized is None:
        return max(0, tip.head.number - FINALITY_DEPTH)
    return tip.finalized


def target(tip: Tip, limits: Limits, *, is_local_chain: bool) -> int:
    """Return the newest block to read."""
    if limits.confirmations is not None:
        return tip.head.number - limits.confirmations
    return tip.head.number if is_local_chain else finalized(tip, limits, is_local_chain=False)


def lower_head_polls(limits: Limits, *, is_local_chain: bool) -> int:
    """Return how many polls in a row must agree on a head below the checkpoint."""
    if limits.lower_head_polls is not None:
        return limits.lower_head_polls
    return LOWER_HEAD_POLLS_LOCAL if is_local_chain else LOWER_HEAD_POLLS
