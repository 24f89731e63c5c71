# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The statements that read candles as Binance's rows, of its own four widths, too."""

from marketdata.binance_intervals import INTERVALS
from marketdata.candles_sql import (
    AMOUNT_FIELDS,
    AS_JSON,
    MS,
    RANGE,
    TAKER_FIELDS,
    direction,
    quoted,
)

# Binance's rows; the last element is a field that it no longer uses.
_KLINE = " || ',' || ".join(
    [
        "'[' || " + MS.format("open_time"),
        *(
            f"""'"' || (trim_scale({name}) + 0.00000000)::text || '"'"""
            for name in AMOUNT_FIELDS[:5]
        ),
        MS.format("close_time"),
        quoted("quote_volume"),
        "trades",
        *map(quoted, TAKER_FIELDS),
        """'"0"]'""",
    ]
)
# Wider candles than any table has, made of the widest table that nests in them.
_MERGED = """
    (SELECT symbol, bucket AS open_time,
            bucket + $5::interval - interval '1 millisecond' AS close_time,
            (array_agg(open_price ORDER BY open_time))[1] AS open_price,
            max(high_price) AS high_price, min(low_price) AS low_price,
            (array_agg(close_price ORDER BY open_time))[count(*)] AS close_price,
            sum(volume) AS volume, sum(quote_volume) AS quote_volume, sum(trades) AS trades,
            sum(taker_buy_volume) AS taker_buy_volume,
            sum(taker_buy_quote_volume) AS taker_buy_quote_volume
     FROM (SELECT *, date_bin($5::interval, open_time, timestamptz 'epoch') AS bucket FROM {table}
           WHERE symbol = $1 AND open_time >= $2::timestamptz
                 AND open_time < $3::timestamptz + $5::interval) AS parts
     GROUP BY symbol, bucket) AS merged
"""


def _klines(table: str, *, is_merged: bool, is_descending: bool) -> str:
    source = _MERGED.format(table=table) if is_merged else table
    span = RANGE.format(table=source, direction=direction(is_descending))
    return AS_JSON.format(row=_KLINE, range=span, order="ASC")


KLINES = {
    (frame.table, is_merged, is_descending): _klines(
        frame.table, is_merged=is_merged, is_descending=is_descending
    )
    for frame in INTERVALS.values()
    for is_merged in (False, True)
    for is_descending in (False, True)
}
