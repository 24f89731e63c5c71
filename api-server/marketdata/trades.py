# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The newest trades of each symbol, which the collector keeps for a while in Redis."""

from typing import Any, cast

import msgspec
import structlog
from redis.asyncio import Redis

from linkora import channels
from linkora.errors import CorruptMessage
from linkora.messages import TradeMessage, decode
from linkora.pubsub import transient_errors

log = structlog.get_logger(__name__)
_decoder = msgspec.json.Decoder(TradeMessage)


class Trades:
    """Reads the lists of recent trades."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def recent(self, symbol: str, limit: int) -> list[TradeMessage]:
        """Return the newest ``limit`` trades, the newest first.

        What is not a trade is left out, and logged.

        Raises:
            TransientError: While Redis is away.
        """
        key = channels.recent_trades_key(symbol)
        with transient_errors():
            kept = await cast("Any", self._redis).lrange(key, 0, limit - 1)
        trades = []
        for each in kept:
            try:
                trades.append(decode(_decoder, each))
            except CorruptMessage as error:
                log.warning("message_was_corrupt", key=key, reason=str(error))
        return trades
