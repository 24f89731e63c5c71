# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The newest trades of each symbol, which the collector keeps for a while in Redis."""

from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from linkora import channels
from linkora.errors import CorruptMessage
from linkora.messages import TradeMessage
from linkora.pubsub import transient_errors

_decoder = msgspec.json.Decoder(TradeMessage)


class Trades:
    """Reads the lists of recent trades."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def recent(self, symbol: str, limit: int) -> list[TradeMessage]:
        """Return the newest ``limit`` trades, the newest first.

        Raises:
            TransientError: While Redis is away.
            CorruptMessage: If an element is not a trade.
        """
        key = channels.recent_trades_key(symbol)
        with transient_errors():
            kept = await cast("Any", self._redis).lrange(key, 0, limit - 1)
        try:
            return [_decoder.decode(each) for each in kept]
        except msgspec.MsgspecError as error:
            raise CorruptMessage(f"{error} in {key}") from error
