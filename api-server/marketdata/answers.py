# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Encoded answers that are given to many: body, ETag and compressed body, made once. Pure."""

import zlib
from collections import OrderedDict
from collections.abc import Hashable
from hashlib import blake2b

OPEN_CACHE = "no-cache"
VARY = "accept-encoding, accept"
_ETAG_BYTES = 12
# Level 1 of deflate makes a third of candles' JSON; higher levels gain little and cost much.
GZIP_LEVEL = 1
GZIP_WINDOW_BITS = 31  # gzip's own head around a window of 2**15 bytes


class Answer:
    """One body.

    Attributes:
        body: The bytes.
        etag: A weak entity tag: equal for equal bodies, on every replica.
        version: What the body was made of; see ``Answers.get``.
        raw_headers: The headers of a 200 answer as ASGI has them, to be copied.
    """

    __slots__ = ("body", "etag", "packed", "raw_headers", "version")

    def __init__(self, body: bytes, version: int = 0) -> None:
        self.body = body
        self.etag = f'W/"{blake2b(body, digest_size=_ETAG_BYTES).hexdigest()}"'
        self.version = version
        self.packed: bytes | None = None
        self.raw_headers = [
            (b"content-length", str(len(body)).encode()),
            (b"content-type", b"application/json"),
            (b"etag", self.etag.encode()),
            (b"cache-control", OPEN_CACHE.encode()),
            (b"vary", VARY.encode()),
        ]

    def pack(self) -> bytes:
        """Return the body as gzip has it; made at the first call."""
        if self.packed is None:
            packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS)
            self.packed = packer.compress(self.body) + packer.flush()
        return self.packed


class Answers:
    """The newest answers, up to so many bytes.

    Args:
        max_bytes: How much the bodies may take together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._answers: OrderedDict[Hashable, Answer] = OrderedDict()

    def get(self, key: Hashable, version: int) -> Answer | None:
        """Return the answer to ``key`` if it is of this ``version``."""
        answer = self._answers.get(key)
        if answer is None or answer.version != version:
            return None
        self._answers.move_to_end(key)
        return answer

    def put(self, key: Hashable, answer: Answer) -> None:
        """Keep ``answer``; those that were not asked for the longest make room."""
        old = self._answers.pop(key, None)
        self._bytes += len(answer.body) - (len(old.body) if old else 0)
        self._answers[key] = answer
        while self._bytes > self._max_bytes and self._answers:
            _, oldest = self._answers.popitem(last=False)
            self._bytes -= len(oldest.body)
