# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A WebSocket's ``newHeads``, as a wake-up only: what they say is never believed, polling is."""

import asyncio
from typing import Any

import aiohttp
import structlog

from linkora.backoff import Backoff

log = structlog.get_logger(__name__)

SILENCE_S = 120.0
MESSAGE_BYTES = 256 * 1024
SUBSCRIBE: dict[str, Any] = {
    "jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"],
}  # fmt: skip


async def listen_for_heads(url: str, session: aiohttp.ClientSession, wake: asyncio.Event) -> None:
    """Set ``wake`` at every message of a ``newHeads`` subscription, for ever.

    Args:
        url: The node's WebSocket; may carry a key, so it is not logged.
        session: Connections.
        wake: What the scanner waits for.
    """
    backoff = Backoff(longest_s=30.0)
    while True:
        try:
            async with session.ws_connect(url, max_msg_size=MESSAGE_BYTES, heartbeat=20) as socket:
                await socket.send_json(SUBSCRIBE)
                while True:
                    message = await socket.receive(SILENCE_S)
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        break
                    backoff.reset()
                    wake.set()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("new_heads_interrupted", reason=type(error).__name__)
        await asyncio.sleep(backoff.next_delay_s())
