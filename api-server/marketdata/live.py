# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The newest state in memory: what keeps it up to date and tells it, wired together."""

from collections.abc import Coroutine
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from linkora.hub import Hub
from marketdata.audience import Audiences
from marketdata.binance_streams import BinanceAudience
from marketdata.board import Board
from marketdata.native import NativeAudience
from marketdata.neighbours import LIVE_DATA, Neighbours
from marketdata.params import MAX_LIMIT
from marketdata.queries import Queries
from marketdata.relay import Relay
from marketdata.reread import Rereader
from marketdata.settings import Settings


class Live(NamedTuple):
    """What keeps the newest state in memory, and tells it."""

    hub: Hub
    board: Board
    native: NativeAudience
    rereader: Rereader
    relay: Relay

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the server."""
        relay = self.relay
        return [
            relay.relay_candles(),
            relay.relay_books(),
            relay.relay_trades(),
            self.rereader.keep(),
            relay.keep_time(),
        ]


def wire_live(
    settings: Settings,
    queries: Queries,
    redis: Redis,
    registry: CollectorRegistry,
    neighbours: Neighbours,
) -> Live:
    """Return them, wired together; nothing runs yet.

    Args:
        settings: How much is kept.
        queries: Where the state is read that was not heard.
        redis: Where it is heard.
        registry: Where the counters go.
        neighbours: Told whether live data and Redis are well.
    """
    hub, board = Hub(), Board(settings.api_max_windows, MAX_LIMIT)
    native = NativeAudience(hub, board)
    audiences = Audiences([native, BinanceAudience(hub, board)])
    rereader = Rereader(
        queries,
        board,
        audiences,
        registry=registry,
        on_reread=lambda error: neighbours.note(LIVE_DATA, error),
    )
    relay = Relay(
        redis,
        rereader,
        board,
        hub,
        audiences,
        registry=registry,
        on_redis=lambda error: neighbours.note("redis", error),
    )
    return Live(hub, board, native, rereader, relay)
