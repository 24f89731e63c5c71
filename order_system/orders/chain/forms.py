# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Headers, logs and answers in the form in which nodes send them, decoded and checked once. Pure.

What comes out has the form and the bounds that the rest of the service and the tables rely on
(Ethereum JSON-RPC specification: quantities, 20-byte addresses, 32-byte hashes and topics); what
has not is the node's fault, a ``CorruptMessage``, and another node is asked.
"""

import re
from typing import TypeVar

import msgspec

from linkora.errors import CorruptMessage, LinkoraError, RejectedError
from orders.chain.blocks import Header
from orders.chain.faults import NO_JSON, NodeBehind

T = TypeVar("T")
MAX_QUANTITY = 2**63 - 1
"""Of heights, ids of chains and counters: PostgreSQL's bigint ends here, far beyond any chain."""
MAX_TIME_S = 253_402_300_799
"""The last second of the year 9999, where Python's and ISO 8601's calendars end."""
_QUANTITY = re.compile(r"0x[0-9a-f]{1,64}", re.IGNORECASE)
_HASH = re.compile(r"0x[0-9a-f]{64}", re.IGNORECASE)
_DIGITS = re.compile(r"0x[0-9a-f]*", re.IGNORECASE)
# Heights below 2^63, places below 2^31, times below 2^36 (the year 4147), behind zeros that the
# specification does not allow; no group is a number that has to be computed to be bounded, and
# none can be matched in two ways.
_ZEROS = r"0x(?=[0-9a-f])0{0,63}+"
_LOG = re.compile(
    rf"0x[0-9a-f]{{40}} 0x[0-9a-f]{{64}} 0x[0-9a-f]{{64}}"
    rf" {_ZEROS}(?:[1-7][0-9a-f]{{15}}|[1-9a-f][0-9a-f]{{0,14}})?"
    rf" {_ZEROS}(?:[1-7][0-9a-f]{{7}}|[1-9a-f][0-9a-f]{{0,6}})?"
    rf" {_ZEROS}(?:[1-9a-f][0-9a-f]{{0,8}})?(?: 0x[0-9a-f]{{64}}){{0,4}} 0x[0-9a-f]*+"
)
_SEPARATORS = 6
"""Between the fields of a log without topics; each topic brings one."""
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
    """A log as nodes send it; all that is hexadecimal is in lower case afterwards.

    Raises:
        ValueError: If a field has not the form or the size that it must have.
    """

    address: str
    topics: tuple[str, ...]
    data: str
    block_number: str
    block_hash: str
    transaction_hash: str
    log_index: str
    block_timestamp: str | None = None
    removed: bool = False

    def __post_init__(self) -> None:
        """Check all fields at once: this is done for every log there is."""
        fields = self._fields()
        if fields.count(" ") != _SEPARATORS + len(self.topics):
            raise ValueError("no log")  # a field with one within would stand for two
        if not _LOG.fullmatch(fields):
            for name in ("address", "data", "block_hash", "transaction_hash"):
                msgspec.structs.force_setattr(self, name, getattr(self, name).lower())
            msgspec.structs.force_setattr(self, "topics", tuple(t.lower() for t in self.topics))
            if not _LOG.fullmatch(fields.lower()):
                raise ValueError("no log")
        if len(self.data) % 2:
            raise ValueError("no log")

    @property
    def number(self) -> int:
        """The block's number."""
        return int(self.block_number, 16)

    @property
    def index(self) -> int:
        """The place in the block."""
        return int(self.log_index, 16)

    @property
    def time_s(self) -> int | None:
        """The block's time in Unix seconds, where the node tells it."""
        return int(self.block_timestamp, 16) if self.block_timestamp else None

    def _fields(self) -> str:
        return (
            f"{self.address} {self.block_hash} {self.transaction_hash} {self.block_number}"
            f" {self.log_index} {self.block_timestamp or '0x0'} {' '.join(self.topics)}"
            f"{' ' if self.topics else ''}{self.data}"
        )


def answer(raw: Raw) -> msgspec.Raw:
    """Return a result; raise an error."""
    if isinstance(raw, LinkoraError):
        raise raw
    return raw


def quantity(text: str, most: int = MAX_QUANTITY) -> int:
    """Return a number given as 0x-hex.

    Raises:
        CorruptMessage: If it is none, or more than ``most``.
    """
    number = int(text, 16) if _QUANTITY.fullmatch(text) else None
    if number is None or number > most:
        raise CorruptMessage(f"no number up to {most}: {text[:80]!r}")
    return number


def text(raw: Raw) -> str:
    """Return a result that is a string."""
    return _decode(_string, answer(raw))


def digits(raw: Raw) -> str:
    """Return a result that is bytes, as 0x-hex."""
    found = text(raw)
    if len(found) % 2 or not _DIGITS.fullmatch(found):
        raise CorruptMessage(f"no bytes: {found[:80]!r}")
    return found.lower()


def digits_or_none(raw: Raw) -> str | None:
    """Return a result that is bytes; None where the node or the contract refuses."""
    return None if isinstance(raw, RejectedError) else digits(raw)


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
    bloom = found.logs_bloom or ""
    if bloom and not _DIGITS.fullmatch(bloom):
        raise CorruptMessage(f"no Bloom filter: {bloom[:80]!r}")
    return Header(
        number=quantity(found.number),
        hash=_hash(found.hash),
        parent_hash=_hash(found.parent_hash),
        time_s=quantity(found.timestamp, MAX_TIME_S),
        logs_bloom=bloom,
    )


def counter_or_none(raw: Raw) -> int | None:
    """Return a counter of the contract; None if the node has no such state, or it no counter."""
    word = digits_or_none(raw)
    if word is None or len(word) != 66:
        return None
    count = int(word, 16)
    return count if count <= MAX_QUANTITY else None  # nothing that is counted up by one


def _hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise CorruptMessage(f"no hash: {text[:80]!r}")
    return text.lower()


_string = msgspec.json.Decoder(str)
_logs = msgspec.json.Decoder(list[RawLog])
_header: msgspec.json.Decoder[RawHeader | None] = msgspec.json.Decoder(RawHeader | None)


def _decode(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw) -> T:
    try:
        return decoder.decode(raw)
    except NO_JSON as error:
        raise CorruptMessage(f"{error}: {bytes(raw)[:120]!r}") from error
