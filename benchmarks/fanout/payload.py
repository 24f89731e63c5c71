# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What every server of the comparison sends: 270 bytes, another number each time."""

SIZE = 270


def payload(number: int) -> bytes:
    text = b'{"channel":"candles","symbol":"BTCUSDT","timestamp":%d,"filler":"' % number
    return text + b"x" * (SIZE - len(text) - 2) + b'"}'
