# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The statements that read candles as Binance's rows; what no table has is folded from one."""

from datetime import datetime, timedelta
from typing import Any

from linkora.timeframes import TIMEFRAMES
from marketdata.binance_intervals import FoldedFrame
from marketdata.candles_sql import (
    AMOUNT_FIELDS,
    AS_JSON,
    MS,
    RANGE,
    TAKER_FIELDS,
    direction,
    quoted,
)
from marketdata.params import CandleRange
from marketdata.spans import floor, moment, ms_of

_MONTH = TIMEFRAMES["1M"].name
# Binance's rows; the last element is a field that it no longer uses.
_KLINE = " || ',' || ".join(
    [
        "'[' || " + MS.format("open_time"),
        *map(quoted, AMOUNT_FIELDS[:5]),
        MS.format("close_time"),
        quoted("quote_volume"),
        "trades",
        *map(quoted, TAKER_FIELDS),
        """'"0"]'""",
    ]
)
# $1 to $4 as in RANGE, but $2 on the grid; $5 where the last candle's parts end.
_FOLDED = """
    (SELECT symbol, bucket AS open_time, {next_open} - interval '1 millisecond' AS close_time,
            (array_agg(open_price ORDER BY open_time))[1] AS open_price,
            max(high_price) AS high_price, min(low_price) AS low_price,
            (array_agg(close_price ORDER BY open_time))[count(*)] AS close_price,
            sum(volume) AS volume, sum(quote_volume) AS quote_volume, sum(trades) AS trades,
            sum(taker_buy_volume) AS taker_buy_volume,
            sum(taker_buy_quote_volume) AS taker_buy_quote_volume
     FROM (SELECT *, {bucket} AS bucket FROM {table}
           WHERE symbol = $1 AND open_time >= $2::timestamptz AND open_time < $5::timestamptz
          ) AS parts
     GROUP BY symbol, bucket) AS folded
"""
# $6 width, $7 the open time of any candle.
_EQUAL = {"bucket": "date_bin($6::interval, open_time, $7)", "next_open": "bucket + $6::interval"}
# $6 how far local time is ahead of UTC. Both are times without a zone here, so that the
# session's does not matter.
_LOCAL_MONTH = "date_trunc('month', ({0} AT TIME ZONE 'UTC') + $6::interval)"
_CALENDAR = {
    "bucket": f"({_LOCAL_MONTH.format('open_time')} - $6::interval) AT TIME ZONE 'UTC'",
    "next_open": f"({_LOCAL_MONTH.format('bucket')} + interval '1 month' - $6::interval)"
    " AT TIME ZONE 'UTC'",
}


def klines(wanted: CandleRange, low: datetime, high: datetime) -> tuple[str, list[Any]]:
    """Return a statement and its arguments; it yields a number of rows, and their JSON array.

    Args:
        wanted: What is asked for; a folded frame's start is on its grid (``spans.on_grid``).
        low: The earliest open time.
        high: The latest open time.
    """
    frame = wanted.frame
    if not isinstance(frame, FoldedFrame):
        return _statement(frame.table, wanted), [wanted.symbol, low, high, wanted.limit]
    rule = _CALENDAR if frame.name == _MONTH else _EQUAL
    grid: list[Any] = [timedelta(milliseconds=frame.width_ms), moment(frame.open_ms(0))]
    if rule is _CALENDAR:
        grid = [timedelta(milliseconds=frame.shift_ms)]
    ends = moment(frame.next_open_ms(ms_of(floor(frame, high))))
    sql = _statement(_FOLDED.format(table=frame.table, **rule), wanted)
    return sql, [wanted.symbol, floor(frame, low), high, wanted.limit, ends, *grid]


def _statement(source: str, wanted: CandleRange) -> str:
    span = RANGE.format(table=source, direction=direction(wanted.start_ms is None))
    return AS_JSON.format(row=_KLINE, range=span, order="ASC")
