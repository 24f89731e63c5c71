# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The exchange's error answers: codes and texts."""

RETRYABLE = {500: -1000, 502: -1001, 503: -1008, 504: -1007}
_SERVER_TEXTS = {
    -1000: "An unknown error occurred while processing the request.",
    -1001: "Internal error; unable to process your request. Please try again.",
    -1007: "Timeout waiting for response from backend server. "
    "Send status unknown; execution status unknown.",
    -1008: "Server is currently overloaded with other requests. Please try again in a few minutes.",
}
FIREWALL_PAGE = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">
<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD>
<BODY><H1>403 ERROR</H1><H2>The request could not be satisfied.</H2>Request blocked.</BODY></HTML>
"""


class RefusalError(Exception):
    """A request that the exchange refuses.

    Attributes:
        code: The exchange's own error code, below zero.
        status: HTTP status.
    """

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


def server_error(status: int) -> RefusalError:
    """Return what a 5xx answer says."""
    code = RETRYABLE[status]
    return RefusalError(code, _SERVER_TEXTS[code], status)


def too_much_weight(limit: int) -> RefusalError:
    """Return what a 429 says."""
    return RefusalError(
        -1003,
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API.",
        429,
    )


def banned(until_ms: int) -> RefusalError:
    """Return what a 418 says."""
    return RefusalError(
        -1003,
        f"Way too much request weight used; IP banned until {until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans.",
        418,
    )


def illegal_characters(name: str, legal: str) -> RefusalError:
    """Return the refusal of a value that does not match its pattern."""
    return RefusalError(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    )


def missing(name: str) -> RefusalError:
    """Return the refusal of a request without a mandatory parameter."""
    return RefusalError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def invalid_symbol() -> RefusalError:
    """Return the refusal of a well-formed symbol that is not traded here."""
    return RefusalError(-1121, "Invalid symbol.")
