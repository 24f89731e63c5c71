# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Order books, and what the collector remembers: gaps and bans; figures of all services."""

from alembic import op

from schema.timescale import create_hypertable

revision = "0003"
down_revision = "0002"

# json, not jsonb: kept as the text that came, smaller and cheaper, and still a JSON column.
ORDERBOOK_DATA = """
CREATE TABLE orderbook_data (
    symbol           text        NOT NULL,
    "timestamp"      timestamptz NOT NULL,
    last_update_id   bigint      NOT NULL,
    bids             json        NOT NULL,
    asks             json        NOT NULL,
    PRIMARY KEY (symbol, "timestamp")
);
COMMENT ON COLUMN orderbook_data.bids IS '[["price", "quantity"], ...], best first';
COMMENT ON COLUMN orderbook_data.asks IS '[["price", "quantity"], ...], best first'
"""

CANDLE_GAPS = """
CREATE TABLE candle_gaps (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol           text        NOT NULL,
    from_time        timestamptz NOT NULL,
    to_time          timestamptz NOT NULL,
    state            text        NOT NULL DEFAULT 'open'
                     CHECK (state IN ('open', 'explained', 'repaired')),
    reason           text,
    attempts         integer     NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz NOT NULL DEFAULT now(),
    opened_at        timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CHECK (from_time < to_time)
);
CREATE UNIQUE INDEX candle_gaps_open ON candle_gaps (symbol, from_time) WHERE state = 'open';
CREATE INDEX candle_gaps_by_symbol ON candle_gaps (symbol, from_time);
COMMENT ON TABLE candle_gaps IS
    'minutes that are not in candles, from from_time until before to_time, and why';
COMMENT ON COLUMN candle_gaps.state IS
    'open: being repaired; explained: the exchange has none; repaired: they came, kept as history'
"""

REQUEST_BANS = """
CREATE TABLE request_bans (
    host             text        PRIMARY KEY,
    banned_until     timestamptz NOT NULL,
    reason           text,
    updated_at       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE request_bans IS 'when an exchange takes requests again; outlives a restart'
"""

SERVICE_METRICS = """
CREATE TABLE service_metrics (
    "time"           timestamptz NOT NULL DEFAULT now(),
    service          text        NOT NULL,
    instance         text        NOT NULL,
    metric           text        NOT NULL,
    value            double precision NOT NULL,
    PRIMARY KEY (service, metric, instance, "time")
);
COMMENT ON TABLE service_metrics IS 'the main figures of each service, once a minute'
"""


def upgrade() -> None:
    """Create the tables."""
    connection = op.get_bind()
    connection.exec_driver_sql(ORDERBOOK_DATA)
    create_hypertable(
        connection,
        "orderbook_data",
        time_column="timestamp",
        chunk="6 hours",
        segment_by="symbol",
    )
    for statement in (CANDLE_GAPS, REQUEST_BANS, SERVICE_METRICS):
        connection.exec_driver_sql(statement)
    create_hypertable(connection, "service_metrics", time_column="time", chunk="1 day")
