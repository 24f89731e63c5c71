# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Where a query looks for ``limit`` candles: spans of time, the narrow ones first. Pure.

On a hypertable the number of chunks that a query may touch sets its cost, so each one is bounded
by time on both sides: first by the span that ``limit`` candles fill where none is missing, then,
if that gave too few, by a span 16 times as wide, then by what was asked for.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from linkora.timeframes import Timeframe
from marketdata.params import FIRST_MS, LAST_MS, CandleRange

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WIDENING = 16


def spans(
    wanted: CandleRange, now: datetime, *, is_descending: bool
) -> Iterator[tuple[datetime, datetime]]:
    """Yield wider and wider spans to look into, from the end that ``limit`` counts from."""
    assert wanted.limit is not None  # noqa: S101 - for the type
    now_ms = ms_of(now)
    low_ms = wanted.start_ms if wanted.start_ms is not None else FIRST_MS
    high_ms = wanted.end_ms if wanted.end_ms is not None else LAST_MS
    width_ms = (wanted.limit + 2) * wanted.frame.width_ms
    for _ in range(2):
        if is_descending:
            # Nothing lies in the future; a clock that is a little off must not hide the newest.
            bound_ms = min(high_ms, now_ms) - width_ms
            if bound_ms <= low_ms:
                break
            yield moment(bound_ms), moment(high_ms)
        else:
            bound_ms = low_ms + width_ms
            if bound_ms >= min(high_ms, now_ms):
                break
            yield moment(low_ms), moment(bound_ms)
        width_ms *= _WIDENING
    yield moment(low_ms), moment(high_ms)


def on_grid(wanted: CandleRange) -> CandleRange:
    """Return ``wanted`` with its start on the grid, so that no bucket is made of a part."""
    if wanted.start_ms is None:
        return wanted
    open_ms = wanted.frame.open_ms(wanted.start_ms)
    if open_ms < wanted.start_ms:
        open_ms = wanted.frame.next_open_ms(open_ms)
    return msgspec.structs.replace(wanted, start_ms=open_ms)


def floor(frame: Timeframe, time: datetime) -> datetime:
    """Return the open time of the candle that holds ``time``."""
    return moment(frame.open_ms(ms_of(time)))


def moment(time_ms: int) -> datetime:
    """Return Unix milliseconds as an instant, exactly."""
    return EPOCH + timedelta(milliseconds=time_ms)


def ms_of(time: datetime) -> int:
    """Return an instant as Unix milliseconds."""
    return (time - EPOCH) // timedelta(milliseconds=1)
