# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Randomness by place instead of by order: every number is a hash of (key, position).

Nothing is drawn one after the other, so any minute of any year can be computed alone, and two
processes with the same seed agree. Only integer operations and the IEEE basic ones are used, so
two machines agree as well.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
UInt64s = NDArray[np.uint64]
Floats = NDArray[np.float64]

_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 1.0 / (1 << 53)


def derive_key(*parts: object) -> int:
    """Return a 64-bit key for a purpose, such as ``derive_key(seed, "BTCUSDT", "trades")``."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def hash_positions(positions: Int64s, key: int) -> UInt64s:
    """Return 64 well-mixed bits for every position (the finaliser of splitmix64)."""
    mixed = positions.astype(np.uint64) * _GOLDEN
    mixed += np.uint64(key)
    mixed ^= mixed >> _S30
    mixed *= _MULTIPLIER_1
    mixed ^= mixed >> _S27
    mixed *= _MULTIPLIER_2
    mixed ^= mixed >> _S31
    return mixed


def uniform(positions: Int64s, key: int) -> Floats:
    """Return a number in [0, 1) for every position."""
    return (hash_positions(positions, key) >> _S11).astype(np.float64) * _UNIT


def bits(hashes: UInt64s, shift: int, width: int) -> Floats:
    """Return ``width`` bits from ``shift`` on of every hash, as a number in [0, 1)."""
    mask = np.uint64((1 << width) - 1)
    return ((hashes >> np.uint64(shift)) & mask).astype(np.float64) * (1.0 / (1 << width))
