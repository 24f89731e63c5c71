# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The small tree of errors that cross a wall; everything else is a bug and rises."""


class LinkoraError(Exception):
    """Base of every error that a caller is expected to handle."""


class TransientError(LinkoraError):
    """A neighbour is away or busy: the same call may succeed later.

    Args:
        message: What happened, for logs and ``/health``.
        retry_after_s: Seconds to wait before the next try, where the neighbour said so.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RejectedError(LinkoraError):
    """A neighbour understood the call and refused it: retrying cannot help."""


class CorruptMessage(LinkoraError):  # noqa: N818 - the field's word for it
    """Bytes from outside do not have the promised form."""


class RequestError(LinkoraError):
    """A client's request cannot be served.

    Args:
        status: The HTTP status of the answer, 400 to 599.
        message: What is wrong and what is allowed; shown to the client as it is.
        retry_after_s: Value of the ``Retry-After`` header, in whole seconds.
        hint: What is allowed, where ``message`` is a fixed text that does not say it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        retry_after_s: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s
        self.hint = hint


def is_of_closed_transport(error: RuntimeError) -> bool:
    """Tell whether uvloop says by this that the connection was closed a moment ago.

    Written to a transport that the other side has just closed, where asyncio's own loop only
    warns; the libraries let it pass.
    """
    return "handler is closed" in str(error)
