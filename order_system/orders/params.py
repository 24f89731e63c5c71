# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Clients' parameters, checked: each function returns a value or raises what to answer. Pure."""

import re
from collections.abc import Mapping
from typing import cast

import msgspec

from linkora.errors import RequestError
from orders.lifecycle import OrderStatus

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_OFFSET = 10_000_000
MAX_ID = 2**63 - 1
"""Ids are counted up by the contract, so none can be larger; PostgreSQL's bigint ends here too."""
ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")
DIGITS = re.compile(r"[0-9]{1,78}")
CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
STATUSES = {"pending": "PENDING", "executed": "EXECUTED", "cancelled": "CANCELLED"}

Query = Mapping[str, str]


class OrderFilter(msgspec.Struct, frozen=True):
    """Which orders are asked for; None for all."""

    status: OrderStatus | None = None
    user: str | None = None


class Page(msgspec.Struct, frozen=True):
    """Which part of a list is asked for.

    Attributes:
        limit: The most entries of the answer.
        offset: How many entries to leave out first.
        after: Block and id of the entry that the page follows, from a cursor.
        is_descending: True for the newest first.
    """

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    after: tuple[int, int] | None = None
    is_descending: bool = True


def page(query: Query) -> Page:
    """Return the part of a list that is asked for."""
    order = query.get("order", "desc").lower()
    if order not in {"asc", "desc"}:
        raise RequestError(400, "Invalid order. Use: asc, desc")
    return Page(
        limit=_bounded(query, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT),
        offset=_bounded(query, "offset", 0, 0, MAX_OFFSET),
        after=cursor(query),
        is_descending=order == "desc",
    )


def cursor(query: Query) -> tuple[int, int] | None:
    """Return block and id of the entry that the page follows, None for the first page."""
    text = query.get("cursor", "")
    if not text:
        return None
    match = CURSOR.fullmatch(text)
    if match is None:
        raise RequestError(400, "Invalid cursor. Use next_cursor of the page before.")
    return int(match[1]), int(match[2])


def status(query: Query) -> OrderStatus | None:
    """Return the status that is asked for, in capitals, None for any."""
    text = query.get("status", "").strip().lower()
    if not text or text == "all":
        return None
    if text not in STATUSES:
        raise RequestError(400, "Invalid status. Use: pending, executed, cancelled")
    return cast("OrderStatus", STATUSES[text])


def address(text: str) -> str:
    """Return an address in lower case."""
    if not ADDRESS.fullmatch(text):
        raise RequestError(400, "Invalid address. Must be 0x and 40 hexadecimal digits.")
    return text.lower()


def order_id(text: str) -> int:
    """Return an order's id; one that no order can have is not found rather than wrong."""
    if not DIGITS.fullmatch(text):
        raise RequestError(400, "Invalid order_id format. Must be a number.")
    number = int(text)
    if number > MAX_ID:
        raise RequestError(404, f"Order {number} not found")
    return number


def _bounded(query: Query, name: str, default: int, least: int, most: int) -> int:
    text = query.get(name)
    number = default if text is None else int(text) if DIGITS.fullmatch(text) else -1
    if not least <= number <= most:
        raise RequestError(400, f"{name} must be between {least} and {most}")
    return number
