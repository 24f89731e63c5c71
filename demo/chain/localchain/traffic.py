# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What people at an exchange do all day: orders placed, changed, executed and cancelled."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from localchain.trading import ETH, TOKENS, Contract

log = structlog.get_logger(__name__)

PRICE_SCALE = 10**18
"""Target prices of the contract are fixed-point numbers with 18 decimals, whatever the tokens."""
OPEN_POSITIONS = 10
READ_BATCH = 200
ACTIONS = ("create", "modify", "execute", "cancel", "open", "close")
WEIGHTS = (10, 3, 5, 3, 2, 2)


@dataclass
class Book:
    """What is open on the chain, as far as this generator knows."""

    orders: dict[int, str] = field(default_factory=dict)
    """Owner by id."""
    positions: list[int] = field(default_factory=list)


Call = tuple[str, tuple[Any, ...]]


def choose_action(rng: random.Random, book: Book, open_orders: int) -> str:
    """Return what happens next; the book never grows far beyond ``open_orders``."""
    action = rng.choices(ACTIONS, WEIGHTS)[0]
    if action in {"modify", "execute", "cancel"} and not book.orders:
        return "create"
    if action == "create" and len(book.orders) >= open_orders:
        return "execute"
    if action == "close" and not book.positions:
        return "open"
    if action == "open" and len(book.positions) >= OPEN_POSITIONS:
        return "close"
    return action


def plan_call(
    rng: random.Random, book: Book, action: str, users: Sequence[str], tokens: dict[str, str]
) -> Call:
    """Return function and arguments of ``action``, and take what it settles out of the book."""
    if action == "create":
        return plan_order(rng, users, tokens)
    if action == "open":
        token = tokens[rng.choice(sorted(tokens))]
        entry = rng.randrange(PRICE_SCALE, 5000 * PRICE_SCALE)
        return "openPosition", (
            rng.choice(users), token, rng.randrange(1, 10**9), rng.randint(1, 20),
            rng.randint(0, 1), entry,
        )  # fmt: skip
    if action == "close":
        position = book.positions.pop(rng.randrange(len(book.positions)))
        function = "liquidatePosition" if rng.random() < 0.2 else "closePosition"
        return function, (position, rng.randrange(-(10**9), 10**9))
    order_id = rng.choice(sorted(book.orders))
    if action == "modify":
        price = rng.randrange(PRICE_SCALE // 1000, 5000 * PRICE_SCALE)
        return "modifyOrder", (book.orders[order_id], order_id, price, rng.randrange(10**9))
    owner = book.orders.pop(order_id)
    if action == "cancel":
        return "cancelOrder", (owner, order_id)
    return "executeOrder", (order_id,)


def plan_order(rng: random.Random, users: Sequence[str], tokens: dict[str, str]) -> Call:
    """Return a limit or stop order between ETH and a token, or between two tokens."""
    decimals = dict(TOKENS) | {"ETH": 18}
    addresses = tokens | {"ETH": ETH}
    token_in, token_out = rng.sample(sorted(addresses), 2)
    amount_in = rng.randrange(1, 10_000) * 10 ** max(decimals[token_in] - 2, 0)
    least_out = rng.randrange(1, 10_000) * 10 ** max(decimals[token_out] - 2, 0)
    price = rng.randrange(PRICE_SCALE // 1000, 5000 * PRICE_SCALE)
    order = (
        rng.choice(users), addresses[token_in], addresses[token_out], amount_in, price,
        rng.choice((0, least_out)),
    )  # fmt: skip
    if rng.random() < 0.3:
        return "createStopLossOrder", order
    return "createLimitOrder", (*order, rng.random() < 0.5)


async def read_book(trading: Contract) -> Book:
    """Return what is open on the chain now: orders neither executed nor cancelled."""
    book = Book()
    next_order = await trading.read_int("nextOrderId")
    next_position = await trading.read_int("nextPositionId")
    for first in range(1, next_order, READ_BATCH):
        ids = range(first, min(first + READ_BATCH, next_order))
        for order_id, words in zip(ids, await _read_many(trading, "getOrder", ids), strict=True):
            if int(words[9], 16) == 0:
                book.orders[order_id] = "0x" + words[1][-40:]
    positions = range(1, next_position)
    for position, words in zip(
        positions, await _read_many(trading, "getPosition", positions), strict=True
    ):
        if int(words[9], 16) == 1:
            book.positions.append(position)
    return book


async def _read_many(trading: Contract, function: str, ids: Sequence[int]) -> list[list[str]]:
    if not ids:
        return []
    calls = [
        (
            "eth_call",
            [{"to": trading.address, "data": trading.artifact.calldata(function, i)}, "latest"],
        )
        for i in ids
    ]
    answers = await trading.rpc.batch(calls)
    return [[a[2 + 64 * n : 66 + 64 * n] for n in range((len(a) - 2) // 64)] for a in answers]


class Traffic:
    """Sends one action after the other; the caller decides how often."""

    def __init__(
        self, trading: Contract, tokens: dict[str, str], users: Sequence[str], rng: random.Random
    ) -> None:
        self.trading = trading
        self.tokens = tokens
        self.users = users
        self.rng = rng

    async def act(self, open_orders: int) -> str:
        """Send one more action and return its function's name.

        The book is read from the chain each time: a reorg may have undone what was sent before.

        Raises:
            RpcError: If the contract refuses, as it does when two actions meet in one block.
        """
        book = await read_book(self.trading)
        action = choose_action(self.rng, book, open_orders)
        function, arguments = plan_call(self.rng, book, action, self.users, self.tokens)
        await self.trading.send(function, *arguments)
        log.info("transaction_sent", function=function, open_orders=len(book.orders))
        return function
