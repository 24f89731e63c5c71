# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The statements that read candles: as JSON, as lines of CSV, as columns; one set a timeframe."""

from linkora.timeframes import TIMEFRAMES, Timeframe

MS = "(extract(epoch FROM {0}) * 1000)::bigint"
_ISO = """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
AMOUNT_FIELDS = ("open_price", "high_price", "low_price", "close_price", "volume", "quote_volume")
TAKER_FIELDS = ("taker_buy_volume", "taker_buy_quote_volume")


def _amount(column: str) -> str:
    return f"""',"{column}":' || {quoted(column)}"""


def quoted(column: str) -> str:
    """Return SQL for a number as JSON has it here: in quotes, with all its decimals."""
    return f"""'"' || {_plain(column)} || '"'"""


def _plain(column: str) -> str:
    # As ``plain`` has it: no zeros beyond 8 decimals, all other digits, at least 8 decimals.
    return f"(trim_scale({column}) + 0.00000000)::text"


# JSON made here costs a third of records -> Decimal -> text -> JSON in Python. Nothing needs
# escaping: each value is a number, a time or a truth value.
_ROW = " || ".join(
    [
        f"""'{{{{"timestamp":' || {MS.format("open_time")}""",
        f"""',"open_time":"' || {_ISO.format("open_time")}""",
        f"""'","close_time":"' || {_ISO.format("close_time")} || '"'""",
        *map(_amount, AMOUNT_FIELDS),
        "',\"trades\":' || trades",
        *map(_amount, TAKER_FIELDS),
        """',"is_closed":' || CASE WHEN {is_closed} THEN 'true' ELSE 'false' END || '}}'""",
    ]
)
# The same as a line of CSV: nothing here needs quoting.
_LINE = " || ',' || ".join(
    [
        MS.format("open_time"),
        _ISO.format("open_time"),
        _ISO.format("close_time"),
        *map(_plain, AMOUNT_FIELDS),
        "trades",
        *map(_plain, TAKER_FIELDS),
        "CASE WHEN {is_closed} THEN 'true' ELSE 'false' END",
    ]
)
_COLUMNS = ", ".join(
    [
        f"{MS.format('open_time')} AS open_ms",
        f"{MS.format('close_time')} AS close_ms",
        *AMOUNT_FIELDS,
        "trades",
        *TAKER_FIELDS,
        "{is_closed} AS is_closed",
        "{revision} AS revision",
    ]
)
RANGE = """
    FROM {table}
    WHERE symbol = $1 AND open_time >= $2 AND open_time <= $3
    ORDER BY open_time {direction}
    LIMIT $4
"""
AS_JSON = """
    SELECT count(*), '[' || coalesce(string_agg(row_text, ',' ORDER BY open_time {order}), '')
           || ']'
    FROM (SELECT open_time, {row} AS row_text {range}) AS candles_asked_for
"""
_AS_ROWS = "SELECT {ms} AS open_ms, {row} AS row_text {range}"
_AS_CSV = """
    SELECT count(*), min(open_ms), max(open_ms),
           coalesce(string_agg(line, E'\n' ORDER BY open_ms {order}) || E'\n', '')
    FROM (SELECT {ms} AS open_ms, {line} AS line {range}) AS candles_asked_for
"""
_AS_COLUMNS = "SELECT {columns} {range}"
_AT = """
    SELECT {columns} FROM {table}
    WHERE symbol = $1 AND open_time = ANY($2) AND open_time BETWEEN $3 AND $4
    ORDER BY open_time
"""
# As ``Ladder`` has it: its time is over, by the clock or because its last minute has closed, and
# no minute inside is still running.
_IS_ROLLUP_CLOSED = """(minutes = closed_minutes AND
    (close_time < now() OR last_open_time > close_time - interval '1 minute'))"""


class Statements:
    """The statements of one timeframe's table.

    Attributes:
        json, rows, columns, csv: Of a range, by whether ``limit`` counts from its end; ``json``
            also by whether the newest come first.
        at: The candles of given open times, as columns.
    """

    def __init__(self, frame: Timeframe) -> None:
        is_minute = frame.parent is None
        names = {
            "is_closed": "is_closed" if is_minute else _IS_ROLLUP_CLOSED,
            "revision": "revision",
            "table": frame.table,
        }
        self.json: dict[tuple[bool, bool], str] = {}
        self.rows: dict[bool, str] = {}
        self.columns: dict[bool, str] = {}
        self.csv: dict[bool, str] = {}
        row = _ROW.format(**names)
        self.at = _AT.format(columns=_COLUMNS.format(**names), table=frame.table)
        for is_descending in (False, True):
            span = RANGE.format(direction=direction(is_descending), **names)
            for is_newest_first in (False, True):
                self.json[is_descending, is_newest_first] = AS_JSON.format(
                    row=row, range=span, order=direction(is_newest_first)
                )
            self.rows[is_descending] = _AS_ROWS.format(
                ms=MS.format("open_time"), row=row, range=span
            )
            self.csv[is_descending] = _AS_CSV.format(
                ms=MS.format("open_time"),
                line=_LINE.format(**names),
                range=span,
                order=direction(is_descending),
            )
            self.columns[is_descending] = _AS_COLUMNS.format(
                columns=_COLUMNS.format(**names), range=span
            )


def direction(is_descending: bool) -> str:
    """Return the word after ORDER BY."""
    return "DESC" if is_descending else "ASC"


STATEMENTS = {name: Statements(frame) for name, frame in TIMEFRAMES.items()}
