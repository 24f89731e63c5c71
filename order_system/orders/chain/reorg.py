# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the chain's head means for what is stored: the rules, one branch each. Pure.

1. The block of the checkpoint is still on the chain: go on from there.
2. It has been replaced, at whatever height the head is: roll back to the newest stored block that
   is still on the chain, then go on.
3. The head is lower than the checkpoint, its block known: a node that lags, or a chain that was
   cut. Wait; after as many polls in a row as the settings say, roll back to the head.
4. The head is lower than the checkpoint, its block unknown: as 3, but to the fork.
5. The head is high enough, and a block that was not replaced before our eyes is just not there:
   nodes behind a balancer, some of which lag. Wait, and ask another provider if there is one.
6. The fork is below what counts as final, or below the oldest stored block: hold and say so.
   A node that still synchronises looks like this too, and comes right by itself.
"""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec


class Extend(msgspec.Struct, frozen=True):
    """The checkpoint is on the chain."""


class Rollback(msgspec.Struct, frozen=True):
    """Everything after block ``to`` is no longer on the chain."""

    to: int


class Wait(msgspec.Struct, frozen=True):
    """Look again before believing it; another provider if this one's head has blocks it lacks."""

    reason: str
    lacks_blocks: bool = False


class Hold(msgspec.Struct, frozen=True):
    """Nothing is changed until the chain agrees again or an operator decides."""

    reason: str


Verdict: TypeAlias = Extend | Rollback | Wait | Hold


class Sight(msgspec.Struct, frozen=True):
    """What a poll has seen.

    Attributes:
        head: Number of the node's newest block.
        stored: Hash by number of every stored block, the checkpoint included.
        remote: The node's hash by number, for every stored number that the node has.
        lower_polls: How many polls in a row, this one included, saw a head below the checkpoint.
    """

    head: int
    stored: Mapping[int, str]
    remote: Mapping[int, str]
    lower_polls: int


def judge(sight: Sight, floor: int, lower_head_polls: int) -> Verdict:
    """Return what to do about the chain's head.

    Args:
        sight: What was seen; ``stored`` is not empty.
        floor: Nothing at or below this block is ever rolled back.
        lower_head_polls: Polls in a row that must agree on a head below the checkpoint.
    """
    checkpoint = max(sight.stored)
    if sight.head >= checkpoint and sight.remote.get(checkpoint) == sight.stored[checkpoint]:
        return Extend()
    if sight.head < checkpoint and sight.lower_polls < lower_head_polls:
        return Wait(f"the head went down from {checkpoint} to {sight.head}")
    fork = find_fork(sight.stored, sight.remote)
    unseen = [n for n in sight.stored if (fork or 0) < n <= sight.head and n not in sight.remote]
    if unseen:
        reason = f"the node has a head {sight.head}, and not the block {max(unseen)}"
        return Wait(reason, lacks_blocks=True)
    if fork is None:
        return Hold(f"no stored block from {min(sight.stored)} on is on the chain any more")
    if fork < floor:
        return Hold(f"the chain forked after block {fork}, below the final block {floor}")
    return Rollback(fork)


def find_fork(stored: Mapping[int, str], remote: Mapping[int, str]) -> int | None:
    """Return the highest block that both know by the same hash, or None."""
    common = [number for number, block in stored.items() if remote.get(number) == block]
    return max(common, default=None)
