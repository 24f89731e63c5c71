# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What a node's refusal means: providers say the same thing in many words.

The phrases were collected from the documentation and the answers of public providers and of
Anvil 1.7, Hardhat 2.29 and Geth; codes alone do not tell (-32005 is a rate limit here and a range
that is too large there).
"""

import re

import msgspec

from linkora.errors import LinkoraError, RejectedError, TransientError


class RangeTooLarge(LinkoraError):  # noqa: N818 - an answer, not a failure
    """The provider does not give that many blocks or logs at once.

    Args:
        message: The provider's words.
        blocks: How many blocks it suggests, where it does.
    """

    def __init__(self, message: str, blocks: int | None = None) -> None:
        super().__init__(message)
        self.blocks = blocks


class RateLimited(TransientError):  # noqa: N818
    """The provider wants fewer requests."""


class NodeBehind(TransientError):  # noqa: N818
    """The node does not know a block that another answer has named."""


class Suspicious(TransientError):  # noqa: N818
    """The answer is well-formed, but a log seems to be missing from it."""


class ForeignChain(LinkoraError):  # noqa: N818 - a finding
    """Every provider that answers has another chain or contract than the one that is stored."""


class NoContract(TransientError):  # noqa: N818 - a finding
    """There is no contract at the address (yet)."""


class StateUnavailable(RejectedError):  # noqa: N818
    """The node has thrown the state of that block away (it is no archive node)."""


class CallReverted(RejectedError):  # noqa: N818
    """The called contract reverted."""


class Unsupported(RejectedError):  # noqa: N818
    """The node does not know the method or the form of its parameters."""


_RATE = re.compile(
    r"rate.?limit|too many requests|request count exceeded|requests per second|capacity|throttl"
    r"|compute units|quota|credits",
    re.IGNORECASE,
)
_BEHIND = re.compile(
    r"unknown block|block not found|header not found|header for hash not found|BlockOutOfRange"
    r"|block number out of range|could not find block|not currently canonical"
    r"|cannot find block|after last accepted block|block .{1,80} not found",
    re.IGNORECASE,
)
_HEIGHT = re.compile(r"block height is (\d+) but requested was (\d+)")
_STATE = re.compile(
    r"missing trie node|historical state|state .{0,60}(not available|unavailable|is not)"
    r"|archive|pruned|no state available",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(
    r"returned more than|too many (results|logs|blocks)|(response|result|query|body|range|logs?)"
    r".{0,40}(too (big|large|wide|many)|exceed|limited to|limit)"
    r"|(exceed|limit).{0,40}(range|blocks|results|logs)"
    r"|max(imum)?.{0,20}(block )?range|block range|query timeout|limit exceeded|timed? ?out",
    re.IGNORECASE,
)
_REVERTED = re.compile(r"revert|invalid opcode|out of gas|stack (over|under)flow", re.IGNORECASE)
_SECONDS = re.compile(r"\s*([0-9]{1,12})\s*")
_SUGGESTED = re.compile(r"\[\s*(0x[0-9a-f]+)\s*,\s*(0x[0-9a-f]+)\s*\]", re.IGNORECASE)
_LIMIT = re.compile(
    r"(\d[\d,]*)\s*(k)?[ -]*blocks?|range[^0-9]{0,20}(\d[\d,]*)\s*(k)?\b", re.IGNORECASE
)

MESSAGE_CHARS = 1000
"""Of a provider's words, read and searched at most."""
RETRY_AFTER_MOST_S = 60.0
"""However long a provider wants to be left alone: it may be the only one."""
NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder of msgspec raises, whatever bytes it is given."""
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602


def classify(method: str, code: int, message: str) -> LinkoraError:  # noqa: PLR0911 - a table
    """Return the error that a JSON-RPC error of ``method`` stands for.

    Args:
        method: The method that was called.
        code: The error's code.
        message: Its message, of any length.
    """
    message = printable(message[:MESSAGE_CHARS])
    text = f"{method}: {code}: {message[:300]}"
    if _RATE.search(message):
        return RateLimited(text)
    if method == "eth_call" and (code == 3 or _REVERTED.search(message)):
        return CallReverted(text)
    if _is_of_the_past(message):
        return StateUnavailable(text)
    if _BEHIND.search(message):
        return NodeBehind(text)
    if _STATE.search(message):
        return StateUnavailable(text)
    if method == "eth_getLogs" and _TOO_LARGE.search(message):
        return RangeTooLarge(text, suggested_blocks(message))
    if code in {METHOD_NOT_FOUND, INVALID_PARAMS}:
        return Unsupported(text)
    return TransientError(text)


def printable(text: str) -> str:
    """Return a stranger's words as what logs, JSON and PostgreSQL's text can all hold."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _is_of_the_past(message: str) -> bool:
    """Return whether Anvil calls a block out of range that it has: it means the block's state."""
    match = _HEIGHT.search(message)
    return match is not None and int(match[2]) <= int(match[1])


def suggested_blocks(message: str) -> int | None:
    """Return how many blocks the provider says it would give, or None if it doesn't say."""
    match = _SUGGESTED.search(message)
    if match:
        first, last = (int(bound, 16) for bound in match.groups())
        return last - first + 1 if last >= first else None
    match = _LIMIT.search(message)
    if match:
        digits, kilo = (match[1], match[2]) if match[1] else (match[3], match[4])
        blocks = int(digits.replace(",", "")) * (1000 if kilo else 1)
        return blocks or None
    return None


def classify_status(status: int, retry_after: str | None, body: str) -> LinkoraError:
    """Return the error that an HTTP answer other than 200 stands for.

    Args:
        status: The HTTP status.
        retry_after: The ``Retry-After`` header; only its form in seconds is used.
        body: The beginning of the body.
    """
    seconds = _SECONDS.fullmatch(retry_after or "")
    delay_s = min(float(seconds[1]), RETRY_AFTER_MOST_S) if seconds else None
    text = f"HTTP {status}: {printable(body[:200])}"
    if status == 429 or (status in {403, 503} and _RATE.search(body)):
        return RateLimited(text, delay_s)
    if status == 413:
        return RangeTooLarge(text)
    if status in {400, 401, 403, 404, 405}:
        return RejectedError(text)
    return TransientError(text, delay_s)
