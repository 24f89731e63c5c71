# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The statements that read everything but candles of a range."""

from marketdata.candles_sql import MS

_DAY_FIELDS = """symbol, open_time, open_price, high_price, low_price, close_price, volume,
          quote_volume, trades"""
# Minutes from $2 (not included) to the full hour $3, from there on hours, the running one too:
# every commit has both. That is 83 rows a symbol at most instead of 1440.
DAYS = f"""
    SELECT symbol, (array_agg(open_price ORDER BY open_time))[1] AS open,
           max(high_price) AS high, min(low_price) AS low,
           (array_agg(close_price ORDER BY open_time))[count(*)] AS close, sum(volume) AS volume,
           sum(quote_volume) AS quote_volume, sum(trades)::bigint AS trades,
           {MS.format("min(open_time)")} AS open_ms,
           {MS.format("max(last_minute) + interval '59999 milliseconds'")} AS close_ms,
           (SELECT close_price FROM candles
            WHERE symbol = parts.symbol AND open_time <= $2 AND open_time > $2 - interval '1 day'
            ORDER BY open_time DESC LIMIT 1) AS close_before
    FROM (SELECT {_DAY_FIELDS}, open_time AS last_minute FROM candles
          WHERE symbol = ANY($1) AND open_time > $2 AND open_time < $3
          UNION ALL
          SELECT {_DAY_FIELDS}, last_open_time FROM candles_1h
          WHERE symbol = ANY($1) AND open_time >= $3) AS parts
    GROUP BY symbol
"""  # noqa: S608 - every part is a constant of ours
PRECISION = """
    SELECT max(greatest(scale(trim_scale(open_price)), scale(trim_scale(high_price)),
                        scale(trim_scale(low_price)), scale(trim_scale(close_price)))),
           max(scale(trim_scale(volume)))
    FROM (SELECT * FROM candles
          WHERE symbol = $1 AND open_time > (
              SELECT last_open_time - interval '1 day' FROM collector_state WHERE symbol = $1)
          ORDER BY open_time DESC LIMIT 300) AS newest
"""
SYMBOLS = "SELECT symbol FROM collector_state ORDER BY symbol"
NEWEST_MINUTES = f"""
    SELECT symbol, {MS.format("last_open_time")}
    FROM collector_state WHERE last_open_time IS NOT NULL
"""  # noqa: S608 - every part is a constant of ours
NEWEST_BOOK = f"""
    SELECT {MS.format('"timestamp"')}, last_update_id, bids::text, asks::text
    FROM orderbook_data
    WHERE symbol = $1 AND "timestamp" >= $2
    ORDER BY "timestamp" DESC
    LIMIT 1
"""  # noqa: S608 - as above
FIRST_MINUTE = f"""
    SELECT {MS.format("first_open_time")} FROM collector_state WHERE symbol = $1
"""  # noqa: S608 - as above
GAPS = f"""
    SELECT symbol, {MS.format("from_time")} AS from_ms, {MS.format("to_time")} AS to_ms,
           state, reason, attempts, {MS.format("updated_at")} AS updated_ms
    FROM candle_gaps
    WHERE ($1::text IS NULL OR symbol = $1) AND to_time > $2 AND from_time <= $3
          AND ($4::text IS NULL OR state = $4)
    ORDER BY from_time, symbol
    LIMIT $5
"""  # noqa: S608 - as above
PING = "SELECT 1"
# One row a month and symbol, so that what changed in years is found by reading a few rows.
MONTHS = f"""
    SELECT {MS.format("open_time")}, (minutes, closed_minutes, revision)::text
    FROM candles_1mo WHERE symbol = $1
"""  # noqa: S608 - as above
CHANGED_MINUTES = f"""
    SELECT {MS.format("open_time")}, (extract(epoch FROM updated_at) * 1000000)::bigint
    FROM candles
    WHERE symbol = $1 AND open_time >= $2 AND open_time < $3 AND updated_at >= now() - $4::interval
    ORDER BY open_time DESC
    LIMIT $5
"""  # noqa: S608 - as above
