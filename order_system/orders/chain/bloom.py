# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The Bloom filter in a block's header: whether the block may hold a log. Pure.

Yellow Paper, section 4.3.1: three bits of 2,048 for the address and for each topic, each the low
eleven bits of one of the first three pairs of bytes of the Keccak-256 hash.
"""

import functools

from eth_utils.crypto import keccak

BLOOM_DIGITS = 2 + 512


@functools.lru_cache(maxsize=1024)
def mask(value: str) -> int:
    """Return the bits of an address or topic, given as 0x-hex."""
    digest = keccak(hexstr=value)
    bits = (int.from_bytes(digest[i : i + 2], "big") & 2047 for i in (0, 2, 4))
    return functools.reduce(lambda whole, bit: whole | 1 << bit, bits, 0)


def may_hold(logs_bloom: str, address: str, topics: tuple[str, ...]) -> bool | None:
    """Return whether a block may hold a log of ``address`` with one of ``topics`` first.

    Returns:
        None if there is no filter to ask; False is certain; True may be a coincidence.
    """
    if len(logs_bloom) != BLOOM_DIGITS:
        return None
    bloom = int(logs_bloom, 16)
    of_address = mask(address)
    if bloom & of_address != of_address:
        return False
    return any(bloom & mask(topic) == mask(topic) for topic in topics)
