# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The tables that a start and ``status`` print."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from localrun.plan import Situation


def describe_places(situation: Situation, folder: Path) -> str:
    """Return a table: what there is, where, and one example each."""
    ports = situation.ports
    api = f"127.0.0.1:{ports['API_PORT']}"
    orders = f"http://127.0.0.1:{ports['ORDER_API_PORT']}"
    symbol = "symbol=BTCUSDT&timeframe=5"
    socket = f"ws://{api}/ws?{symbol}&type=candles"
    collector = f"http://127.0.0.1:{ports['COLLECTOR_PORT']}"
    events = f"http://127.0.0.1:{ports['EVENTS_PORT']}"
    rows = [
        ("web page", f"http://{api}/", "candles, order books, trades and orders in a browser"),
        ("market data API", f"http://{api}", f"curl 'http://{api}/candles?{symbol}&limit=3'"),
        ("live candles", f"ws://{api}/ws", f".venv/bin/websockets '{socket}'"),
        ("order API", orders, f"curl '{orders}/orders/pending?limit=3'"),
        ("data collector", collector, f"curl {collector}/health"),
        ("event processor", events, f"curl {events}/health"),
        _exchange_row(situation),
        _chain_row(situation),
        ("PostgreSQL", f"127.0.0.1:{ports['DB_PORT']}", f'. {folder}/env; psql "$DATABASE_URL"'),
        ("Redis", f"127.0.0.1:{ports['REDIS_PORT']}", f'. {folder}/env; redis-cli -u "$REDIS_URL"'),
    ]
    return table(rows)


def _exchange_row(situation: Situation) -> tuple[str, str, str]:
    if not situation.has_simulator:
        return ("exchange", "Binance", situation.exchange_reason)
    url = f"http://127.0.0.1:{situation.ports['EXCHANGE_PORT']}"
    return ("exchange SIMULATOR", url, f"curl '{url}/api/v3/depth?symbol=BTCUSDT&limit=5'")


def _chain_row(situation: Situation) -> tuple[str, str, str]:
    if not situation.has_chain:
        return ("chain", "no local chain", situation.chain_reason)
    return (
        "local chain",
        f"http://127.0.0.1:{situation.ports['CHAIN_PORT']}",
        "Anvil, chain 31337",
    )


def describe_states(states: Sequence[tuple[str, str]], wrong: Mapping[str, str]) -> str:
    """Return a table: each program, its process's state, and what is wrong with it."""
    return table([(name, state, wrong.get(name, "healthy")) for name, state in states])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )
