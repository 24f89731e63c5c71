# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Random things that happen on a chain, reorgs of three kinds among them."""

import random
from typing import Any

from chainkit.rig import Rig
from localchain.testing import Chain
from localchain.trading import ETH, TOKEN_ADDRESSES
from localchain.traffic import Book, choose_action, plan_call, read_book

OPEN_ORDERS = 6


async def act(chain: Chain, rng: random.Random, most: int = 4, *, has_orphans: bool = True) -> None:
    """Put up to ``most`` transactions into the next block; some of them may revert."""
    book: Book = await read_book(chain.trading)
    async with chain.one_block():
        for _ in range(rng.randint(1, most)):
            action = choose_action(rng, book, OPEN_ORDERS)
            await chain.send(*_flat(plan_call(rng, book, action, chain.users, TOKEN_ADDRESSES)))
        if (
            has_orphans and rng.random() < 0.15
        ):  # an orphan: cancel or modify what does not exist yet
            later = await chain.trading.read_int("nextOrderId") + rng.randint(3, 6)
            await chain.send(
                *rng.choice([("cancelOrder", ETH, later), ("modifyOrder", ETH, later, 5, 6)])
            )


def _flat(call: tuple[str, tuple[Any, ...]]) -> tuple[Any, ...]:
    return call[0], *call[1]


async def play(chain: Chain, rig: Rig, rng: random.Random, steps: int) -> None:
    """Let ``steps`` random things happen, the scanner looking now and then."""
    marks: list[tuple[str, int]] = []
    for _ in range(steps):
        kind = rng.choices(("act", "mine", "reorg", "mark", "revert", "look"), (8, 2, 4, 2, 3, 7))[
            0
        ]
        head = await chain.head()
        if kind == "act":
            await act(chain, rng)
        elif kind == "mine":
            await chain.mine(rng.randint(1, 5))
        elif kind == "reorg" and head > 3 and chain.can_reorg:
            await chain.reorg(rng.randint(1, min(12, head - 2)))
            marks.clear()  # snapshots of replaced blocks are of no use
        elif kind == "mark":
            marks.append((await chain.snapshot(), head))
        elif kind == "revert" and marks:
            mark, _ = marks.pop()
            await chain.revert(mark)
        elif kind == "look":
            await rig.settle()
