# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Headers, logs and answers in the form in which nodes send them, decoded once. Pure."""

from typing import TypeVar

import msgspec

from linkora.errors import CorruptMessage, LinkoraError, RejectedError
from orders.chain.blocks import Header
from orders.chain.faults import NodeBehind

T = TypeVar("T")
Raw = msgspec.Raw | LinkoraError
"""The result of one call, not decoded yet, or its error."""


class RawHeader(msgspec.Struct, frozen=True, rename="camel"):
    """A header as nodes send it; a pending block has no number and no hash."""

    number: str | None
    hash: str | None
    parent_hash: str
    timestamp: str
    logs_bloom: str | None = None


class RawLog(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A log as nodes send it."""

    address: str
    topics: tuple[str, ...]
    data: str
    block_number: str
    block_hash: str
    transaction_hash: str
    log_index: str
    block_timestamp: str | None = None
    removed: bool = False


def answer(raw: Raw) -> msgspec.Raw:
    """Return a result; raise an error."""
    if isinstance(raw, LinkoraError):
        raise raw
    return raw


def quantity(text: str) -> int:
    """Return a number given as 0x-hex.

    Raises:
        CorruptMessage: If it is none.
    """
    try:
        return int(text, 16)
    except ValueError:
        raise CorruptMessage(f"no number: {text[:80]!r}") from None


def text(raw: Raw) -> str:
    """Return a result that is a string."""
    return _decode(_string, answer(raw))


def text_or_none(raw: Raw) -> str | None:
    """Return a result that is a string; None where the node or the contract refuses."""
    return None if isinstance(raw, RejectedError) else text(raw)


def logs(raw: Raw) -> list[RawLog]:
    """Return a result that is a list of logs."""
    return _decode(_logs, answer(raw))


def header(raw: Raw) -> Header:
    """Return a result that is a block.

    Raises:
        NodeBehind: If the node does not have it.
    """
    found = header_or_none(raw)
    if found is None:
        raise NodeBehind("the node does not have a block that it or another one has named")
    return found


def header_or_none(raw: Raw) -> Header | None:
    """Return a result that is a block, or None if the node does not have it."""
    found = _decode(_header, answer(raw))
    if found is None:
        return None
    if found.number is None or found.hash is None:
        raise CorruptMessage("a block without number or hash")
    return Header(
        number=quantity(found.number),
        hash=found.hash,
        parent_hash=found.parent_hash,
        time_s=quantity(found.timestamp),
        logs_bloom=found.logs_bloom or "",
    )


def counter_or_none(raw: Raw) -> int | None:
    """Return a counter of the contract; None if the node has no such state, or it no counter."""
    digits = text_or_none(raw)
    return quantity(digits) if digits is not None and len(digits) == 66 else None


_string = msgspec.json.Decoder(str)
_logs = msgspec.json.Decoder(list[RawLog])
_header: msgspec.json.Decoder[RawHeader | None] = msgspec.json.Decoder(RawHeader | None)


def _decode(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw) -> T:
    try:
        return decoder.decode(raw)
    except msgspec.MsgspecError as error:
        raise CorruptMessage(f"{error}: {bytes(raw)[:120]!r}") from error
