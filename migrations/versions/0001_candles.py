# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""One-minute candles, the rollup tables of the twelve wider ones, and what rolls them up."""

from alembic import op

from schema.timescale import create_hypertable

revision = "0001"
down_revision = None

# Table, parent table, bucket width, chunk width. Each is made of the widest table that nests in
# it, which costs a third less than making 15 to 60 minutes of the minutes.
ROLLUPS = [
    ("candles_3m", "candles", "3 minutes", "30 days"),
    ("candles_5m", "candles", "5 minutes", "30 days"),
    ("candles_15m", "candles_5m", "15 minutes", "90 days"),
    ("candles_30m", "candles_15m", "30 minutes", "180 days"),
    ("candles_45m", "candles_15m", "45 minutes", "180 days"),
    ("candles_1h", "candles_30m", "1 hour", "360 days"),
    ("candles_2h", "candles_1h", "2 hours", "720 days"),
    ("candles_3h", "candles_1h", "3 hours", "720 days"),
    ("candles_4h", "candles_2h", "4 hours", "720 days"),
    ("candles_1d", "candles_4h", "24 hours", "3600 days"),
    ("candles_1w", "candles_1d", "168 hours", "25200 days"),
    ("candles_1mo", "candles_1d", "month", "36000 days"),
]

# least() and greatest() over all numbers: NaN sorts above Infinity, so that two comparisons keep
# out NaN, Infinity and negative values. Unbounded, because NUMERIC(20,8) ends at 10^12, which the
# base volumes of cheap coins reach.
AMOUNTS = (
    "open_price, high_price, low_price, close_price,"
    " volume, quote_volume, taker_buy_volume, taker_buy_quote_volume"
)

VALUES = """
    symbol                  text        NOT NULL,
    open_time               timestamptz NOT NULL,
    close_time              timestamptz NOT NULL,
    open_price              numeric     NOT NULL,
    high_price              numeric     NOT NULL,
    low_price               numeric     NOT NULL,
    close_price             numeric     NOT NULL,
    volume                  numeric     NOT NULL,
    quote_volume            numeric     NOT NULL,
    trades                  bigint      NOT NULL,
    taker_buy_volume        numeric     NOT NULL,
    taker_buy_quote_volume  numeric     NOT NULL,
"""

CANDLES = f"""
CREATE TABLE candles ({VALUES}
    is_closed               boolean     NOT NULL,
    revision                integer     NOT NULL DEFAULT 0,
    raw_open_time           timestamptz,
    updated_at              timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, open_time),
    CONSTRAINT candles_amounts_are_finite CHECK (
        least({AMOUNTS}) >= 0 AND greatest({AMOUNTS}) < 'Infinity' AND trades >= 0),
    CONSTRAINT candles_open_on_the_minute CHECK (
        open_time = date_bin('1 minute', open_time, timestamptz 'epoch'))
);
COMMENT ON COLUMN candles.revision IS
    '0 at the close, one more for each correction by the exchange';
COMMENT ON COLUMN candles.raw_open_time IS
    'the open time that the exchange gave, where that was off the minute grid'
"""

ROLLUP = """
CREATE TABLE {table} ({values}
    revision                bigint      NOT NULL,
    minutes                 integer     NOT NULL,
    closed_minutes          integer     NOT NULL,
    last_open_time          timestamptz NOT NULL,
    PRIMARY KEY (symbol, open_time)
);
COMMENT ON COLUMN {table}.revision IS
    'the sum of the minutes'' revisions: it grows with each correction';
COMMENT ON COLUMN {table}.minutes IS
    'one-minute candles inside; fewer than the width where the exchange had none or we not yet';
COMMENT ON COLUMN {table}.closed_minutes IS
    'how many of them are closed';
COMMENT ON COLUMN {table}.last_open_time IS
    'open time of the newest of them'
"""

# Times are instants and every bucket is cut in UTC: nothing here asks the session's time zone
# (adding a day or a month to a timestamptz would).
ROLL_UP_STEP = """
    lo := {lo};
    hi := {last};
    hi := {hi};
    INSERT INTO {table} AS stored
    SELECT symbol, bucket, {next} - interval '1 millisecond',
           (array_agg(open_price ORDER BY open_time))[1], max(high_price), min(low_price),
           (array_agg(close_price ORDER BY open_time))[count(*)],
           sum(volume), sum(quote_volume), sum(trades),
           sum(taker_buy_volume), sum(taker_buy_quote_volume), sum(revision), {counts}
    FROM (SELECT *, {bucket} AS bucket FROM {parent}
          WHERE symbol = ANY(symbols) AND open_time >= lo AND open_time < hi) AS inside
    GROUP BY symbol, bucket
    ON CONFLICT (symbol, open_time) DO UPDATE SET
        open_price = excluded.open_price,
        high_price = excluded.high_price,
        low_price = excluded.low_price,
        close_price = excluded.close_price,
        volume = excluded.volume,
        quote_volume = excluded.quote_volume,
        trades = excluded.trades,
        taker_buy_volume = excluded.taker_buy_volume,
        taker_buy_quote_volume = excluded.taker_buy_quote_volume,
        revision = excluded.revision,
        minutes = excluded.minutes,
        closed_minutes = excluded.closed_minutes,
        last_open_time = excluded.last_open_time;
"""

ROLL_UP = """
CREATE FUNCTION roll_up(symbols text[], from_time timestamptz, to_time timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
-- Make every wider candle that touches [from_time, to_time) anew from its parents. The caller
-- holds the symbols' rows of collector_state, so that no other writer is in between.
DECLARE
    lo timestamptz;
    hi timestamptz;
BEGIN
{steps}
END $$
"""

# STABLE, so that the planner puts the expression itself in the call's place.
MILLISECONDS = """
CREATE FUNCTION at_ms(ms bigint) RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT timestamptz 'epoch' + ms * interval '1 millisecond' $$;
CREATE FUNCTION ms_of(moment timestamptz) RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT (extract(epoch FROM moment) * 1000)::bigint $$;
COMMENT ON FUNCTION at_ms IS 'Unix milliseconds as an instant, exactly';
COMMENT ON FUNCTION ms_of IS 'an instant as Unix milliseconds'
"""

COLLECTOR_STATE = """
CREATE TABLE collector_state (
    symbol                  text        PRIMARY KEY,
    status                  text        NOT NULL DEFAULT 'pending',
    detail                  text,
    start_time              timestamptz,
    first_open_time         timestamptz,
    last_open_time          timestamptz,
    last_closed_open_time   timestamptz,
    updated_at              timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE collector_state IS
    'one row a symbol; its row lock is what writers of the symbol''s candles take turns by';
COMMENT ON COLUMN collector_state.start_time IS
    'where its history is wanted from';
COMMENT ON COLUMN collector_state.detail IS
    'why the status is what it is, for people'
"""


def bucket(width: str, time: str) -> str:
    """Return SQL for the open time of the bucket that holds ``time``."""
    if width == "month":
        return f"(date_trunc('month', ({time}) AT TIME ZONE 'UTC') AT TIME ZONE 'UTC')"
    origin = "1970-01-05 00:00:00+00" if width == "168 hours" else "epoch"
    return f"date_bin('{width}', {time}, timestamptz '{origin}')"


def next_bucket(width: str, open_time: str) -> str:
    """Return SQL for the open time of the bucket after the one that opens at ``open_time``."""
    if width == "month":
        return f"(({open_time} AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC')"
    return f"({open_time} + interval '{width}')"


def roll_up_step(table: str, parent: str, width: str) -> str:
    """Return the statements that make one rollup table anew over a span."""
    of_minutes = "count(*), count(*) FILTER (WHERE is_closed), max(open_time)"
    of_rollups = "sum(minutes), sum(closed_minutes), max(last_open_time)"
    return ROLL_UP_STEP.format(
        table=table,
        parent=parent,
        lo=bucket(width, "from_time"),
        last=bucket(width, "to_time - interval '1 microsecond'"),
        hi=next_bucket(width, "hi"),
        bucket=bucket(width, "open_time"),
        next=next_bucket(width, "bucket"),
        counts=of_minutes if parent == "candles" else of_rollups,
    )


def upgrade() -> None:
    """Create the tables and the functions."""
    connection = op.get_bind()
    connection.exec_driver_sql(MILLISECONDS)
    connection.exec_driver_sql(CANDLES)
    create_hypertable(
        connection, "candles", time_column="open_time", chunk="7 days", segment_by="symbol"
    )
    for table, _, _, chunk in ROLLUPS:
        connection.exec_driver_sql(ROLLUP.format(table=table, values=VALUES))
        create_hypertable(
            connection, table, time_column="open_time", chunk=chunk, segment_by="symbol"
        )
    steps = "".join(roll_up_step(table, parent, width) for table, parent, width, _ in ROLLUPS)
    connection.exec_driver_sql(ROLL_UP.format(steps=steps))
    connection.exec_driver_sql(COLLECTOR_STATE)
