# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""From words to values: the contract's logs and answers, by tables.

Everything the contract emits and returns is made of 32-byte words at fixed places (no dynamic
types), so a table of places is a whole decoder, and about sixty times faster than a general one.
The tables are checked against the ABI and against web3.py's decoder in the tests.
"""

from collections.abc import Callable, Sequence

import msgspec

from linkora.errors import CorruptMessage
from orders.events import (
    OrderCancelled,
    OrderChange,
    OrderCreated,
    OrderExecuted,
    OrderModified,
    PositionChange,
    PositionClosed,
    PositionLiquidated,
    PositionOpened,
)

WORD = 64
"""Hexadecimal digits of a word."""
ADDRESS_PADDING = "0" * 24
INT256_SIGN = 1 << 255

ORDER_CREATED = "0xdcb4282d27c4f0f72b550268698af955cf8c6bd36efec7b9a243e500452f86e2"
"""Topic 0 of ``OrderCreated``."""
GET_ORDER = "0xd09ef241"
GET_POSITION = "0xeb02c301"
NEXT_ORDER_ID = "0x2a58b330"
NEXT_POSITION_ID = "0x899346c7"
DECIMALS = "0x313ce567"
SYMBOL = "0x95d89b41"


class ContractOrder(msgspec.Struct, frozen=True, gc=False):
    """``getOrder(id)``; id 0: there is none. ``executed`` is true for cancelled ones too."""

    id: int
    user: str
    token_in: str
    token_out: str
    amount_in: int
    target_price: int
    min_amount_out: int
    order_type: int
    is_long: bool
    executed: bool
    created_at_s: int
    self_executable: bool


class ContractPosition(msgspec.Struct, frozen=True, gc=False):
    """``getPosition(id)``: id 0 means that there is none."""

    id: int
    user: str
    token: str
    collateral_amount: int
    leverage: int
    position_type: int
    entry_price: int
    size: int
    created_at_s: int
    is_open: bool


def uint(word: str) -> int:
    """Return a word of 64 digits as an unsigned integer."""
    return int(word, 16)


def uint8(word: str) -> int:
    """Return a word as an unsigned integer of 8 bits, such as an enumeration's.

    Raises:
        CorruptMessage: If it is larger.
    """
    value = int(word, 16)
    if value > 255:
        raise CorruptMessage(f"no uint8: {word}")
    return value


def signed(word: str) -> int:
    """Return a word of 64 digits as a two's complement integer."""
    value = int(word, 16)
    return value - (1 << 256) if value & INT256_SIGN else value


def address(word: str) -> str:
    """Return a word's address, lower-case.

    Raises:
        CorruptMessage: If the twelve bytes above it are not zero.
    """
    if not word.startswith(ADDRESS_PADDING):
        raise CorruptMessage(f"no address: {word}")
    return "0x" + word[24:].lower()


def boolean(word: str) -> bool:
    """Return a word as a truth value.

    Raises:
        CorruptMessage: If it is neither 0 nor 1.
    """
    value = int(word, 16)
    if value > 1:
        raise CorruptMessage(f"no boolean: {word}")
    return value == 1


Reader = Callable[[str], int | str | bool]
Change = OrderChange | PositionChange


class LogForm(msgspec.Struct, frozen=True):
    """How one kind of log is read: its struct, and a reader for each topic and each word."""

    change: Callable[..., Change]
    topics: tuple[Reader, ...]
    words: tuple[Reader, ...]


LOG_FORMS: dict[str, LogForm] = {
    ORDER_CREATED: LogForm(OrderCreated, (address,), (address, address, uint)),
    "0x9b32d7714729bdcd899b9c5460b1ec55a813e10e7a51271f146949e4e19f7b99": LogForm(
        OrderExecuted, (address,), (uint,)
    ),
    "0xc0362da6f2ff36b382b34aec0814f6b3cdf89f5ef282a1d1f114d0c0b036d596": LogForm(
        OrderCancelled, (address,), ()
    ),
    "0x5f26042ebf1dad031a5d68482c9ed2dd6e4ead6ef1d61d3fe2bde495965228ce": LogForm(
        OrderModified, (), (uint, uint)
    ),
    "0x9931fc1a74664316f768453232cd4f17f63c060ff3c43c99e92c83814879817a": LogForm(
        PositionOpened, (address,), (address, uint)
    ),
    "0xac45757d553121e5cddd67b80d79a0bbc1b9901feeff87f7d6e89ba6d7e881da": LogForm(
        PositionClosed, (address,), (signed,)
    ),
    "0x7415225e728d6081ee82aaddadaa44f1810aaf26e04ad4691ae97b879d96caf7": LogForm(
        PositionLiquidated, (address, address), (signed,)
    ),
}
"""Form by topic 0. Topic 1 is the id in all of them; ``LogForm.topics`` starts after it."""

ORDER_READERS: tuple[Reader, ...] = (
    uint, address, address, address, uint, uint, uint, uint8, boolean, boolean, uint, boolean,
)  # fmt: skip
POSITION_READERS: tuple[Reader, ...] = (
    uint, address, address, uint, uint, uint8, uint, uint, uint, boolean,
)  # fmt: skip


def decode_log(topics: Sequence[str], data: str) -> tuple[int, Change]:
    """Return id and change of a log.

    Args:
        topics: The log's topics, 0x-hex, the first one naming a known event.
        data: The log's data, 0x-hex.

    Raises:
        CorruptMessage: If the event is unknown or its topics or words are not as the ABI says.
    """
    form = LOG_FORMS.get(topics[0]) if topics else None
    if form is None:
        raise CorruptMessage("unknown event")
    if len(topics) != 2 + len(form.topics):
        raise CorruptMessage(f"{len(topics)} topics instead of {2 + len(form.topics)}")
    if len(data) != 2 + WORD * len(form.words):
        raise CorruptMessage(f"{(len(data) - 2) / 2:g} bytes instead of {32 * len(form.words)}")
    try:
        fields = [read(topic[2:]) for read, topic in zip(form.topics, topics[2:], strict=True)]
        fields += [read(data[i : i + WORD]) for read, i in zip(form.words, _STARTS, strict=False)]
        return int(topics[1], 16), form.change(*fields)
    except ValueError as error:
        raise CorruptMessage(f"not hexadecimal: {error}") from error


_STARTS = tuple(range(2, 2 + WORD * 12, WORD))


def decode_order(answer: str) -> ContractOrder:
    """Return the order that ``getOrder`` answered.

    Raises:
        CorruptMessage: If it is not the twelve words of the ABI.
    """
    return ContractOrder(*_decode_words(answer, ORDER_READERS))  # type: ignore[arg-type]


def decode_position(answer: str) -> ContractPosition:
    """Return the position that ``getPosition`` answered.

    Raises:
        CorruptMessage: If it is not the ten words of the ABI.
    """
    return ContractPosition(*_decode_words(answer, POSITION_READERS))  # type: ignore[arg-type]


def decode_decimals(answer: str) -> int | None:
    """Return a token's decimals, or None if the answer is no uint8 (EIP-20: they are optional)."""
    try:
        value = int(answer, 16)
    except ValueError:
        return None
    return value if len(answer) == 2 + WORD and value <= 255 else None


def decode_symbol(answer: str) -> str | None:
    """Return a token's symbol, given as ``string`` or as ``bytes32``, or None if it has none.

    At most 32 printable characters are kept: whoever deploys a token chooses its symbol.
    """
    try:
        raw = bytes.fromhex(answer[2:])
    except ValueError:
        return None
    if len(raw) >= 96 and int.from_bytes(raw[:32], "big") == 32:
        length = int.from_bytes(raw[32:64], "big")
        raw = raw[64 : 64 + min(length, 128)]
    elif len(raw) != 32:
        return None
    text = "".join(c for c in raw.decode("utf-8", errors="ignore") if c.isprintable())
    return text[:32] or None


def encode_call(selector: str, argument: int) -> str:
    """Return the data of a call with one uint256 argument."""
    return f"{selector}{argument:064x}"


def _decode_words(answer: str, readers: Sequence[Reader]) -> list[int | str | bool]:
    if len(answer) != 2 + WORD * len(readers):
        raise CorruptMessage(f"{(len(answer) - 2) / 2:g} bytes instead of {32 * len(readers)}")
    try:
        return [read(answer[i : i + WORD]) for read, i in zip(readers, _STARTS, strict=False)]
    except ValueError as error:
        raise CorruptMessage(f"not hexadecimal: {error}") from error
