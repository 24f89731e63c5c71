# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What ``GET /control`` tells: what was served and done, how the switches are set, the truth."""

from collections.abc import Mapping

import msgspec

from simulator import wire
from simulator.connection import Connection
from simulator.exchange import Exchange, Listing
from simulator.history import minute_klines
from simulator.intervals import DAY_MS, MINUTE_MS

MAX_TRUTH_MS = 40 * DAY_MS


class WrongQuestionError(ValueError):
    """A question for the truth that cannot be answered; the text says why."""


def report(
    exchange: Exchange, connections: set[Connection], banned_until_ms: dict[str, int]
) -> dict[str, object]:
    """Return the whole report, ready for JSON."""
    return {
        "seed": exchange.settings.seed,
        "started_ms": exchange.started_ms,
        "now_ms": exchange.now_ms(),
        "replay_until_ms": exchange.replay_until_ms,
        "down_until_ms": exchange.down_until_ms,
        "switches": exchange.switches.model_dump(),
        "counters": dict(sorted(exchange.counters.items())),
        "symbols": {name: _describe(listing) for name, listing in exchange.listings.items()},
        "connections": [
            {"number": c.number, "streams": list(c.streams), "silent": c.is_silent}
            for c in sorted(connections, key=lambda c: c.number)
        ],
        "banned_until_ms": banned_until_ms,
    }


def _describe(listing: Listing) -> dict[str, object]:
    market = listing.market
    return {
        "status": market.status,
        "listed_ms": market.listed_ms,
        "interruptions": msgspec.to_builtins(market.interruptions),
        "revised": {str(m * MINUTE_MS): count for m, count in market.revised_minutes.items()},
    }


def truth(exchange: Exchange, query: Mapping[str, str]) -> str:
    """Return the true one-minute klines of ``truth=SYMBOL`` as JSON, without lag or limit.

    Bounds are ``startTime`` and ``endTime`` as in ``/api/v3/klines``; at most 40 days.

    Raises:
        WrongQuestionError: If the symbol is unknown or a time is no number.
    """
    listing = exchange.listings.get(query["truth"])
    if listing is None:
        raise WrongQuestionError(f"unknown symbol {query['truth']!r}")
    now_ms = exchange.now_ms()
    try:
        end_ms = int(query.get("endTime", now_ms))
        start_ms = int(query.get("startTime", 0))
    except ValueError as error:
        raise WrongQuestionError("startTime and endTime are Unix ms") from error
    rows = minute_klines(listing.market, max(start_ms, end_ms - MAX_TRUTH_MS), end_ms, now_ms)
    return wire.kline_rows(listing.market.symbol, rows)
