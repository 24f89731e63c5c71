# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What is said over the WebSocket, in AsyncAPI 3: made of the structs that are sent.

A test holds it against the messages of a running server.
"""

from typing import Any

from linkora.messages import TradeMessage
from linkora.sockets import (
    CLOSE_GOING_AWAY,
    CLOSE_IDLE,
    CLOSE_TOO_MANY,
    CLOSE_TOO_SLOW,
    CLOSE_WRONG_PARAMETER,
)
from linkora.timeframes import TIMEFRAMES
from marketdata.openapi import VERSION
from marketdata.params import LEVELS
from marketdata.schemas import struct_schema
from marketdata.websocket import MAX_INTERVAL_S, MIN_INTERVAL_S, TYPES
from marketdata.wire import Book, StreamCandle

Json = dict[str, Any]
CLOSE_CODES = {
    1000: "The client closed.",
    1009: "A message is longer than 64 KiB.",
    CLOSE_GOING_AWAY: "The server stops; connect again, another may answer.",
    CLOSE_WRONG_PARAMETER: "A parameter of the URL is wrong; the reason says what is allowed.",
    CLOSE_IDLE: "No frame came for WEBSOCKET_PONG_TIMEOUT seconds.",
    CLOSE_TOO_SLOW: "More messages wait for the client than are kept.",
    CLOSE_TOO_MANY: "Too many connections from this address, or too many messages.",
}
_TIME = {"type": "integer", "description": "Unix ms"}
_ID = {"type": ["string", "integer"], "description": "Comes back in the answer"}
CHANNEL: Json = {
    "type": "object",
    "properties": {
        "type": {"enum": list(TYPES), "default": "candles"},
        "symbol": {"type": "string", "default": "all"},
        "timeframe": {"enum": list(TIMEFRAMES), "default": "1"},
        "levels": {"enum": [*LEVELS, *map(str, LEVELS)]},
        "interval": {
            "type": ["number", "string"],
            "minimum": MIN_INTERVAL_S,
            "maximum": MAX_INTERVAL_S,
            "description": "Seconds between open states, at least",
        },
        "since": {
            "type": ["integer", "string"],
            "description": "Send the candles that closed since then first; Unix ms or ISO 8601",
        },
    },
}
_CHANNELS = {"type": "array", "items": CHANNEL}


def _message(kind: str, text: str, **properties: Json) -> Json:
    return {
        "title": kind,
        "summary": text,
        "payload": {
            "type": "object",
            "required": ["type", *properties],
            "properties": {"type": {"const": kind}, **properties, "id": _ID},
        },
    }


def _data(title: str, schema: Json) -> Json:
    return {"title": title, "payload": schema}


def _told(struct: Any, channel: str) -> Json:
    schema = struct_schema(struct)
    properties = {**schema["properties"], "channel": {"const": channel}}
    return {**schema, "required": list(properties), "properties": properties}


SERVER_MESSAGES: dict[str, Json] = {
    "candle": _data("candle", _told(StreamCandle, "candles")),
    "orderbook": _data("orderbook", _told(Book, "orderbook")),
    "trades": _data(
        "trades",
        {
            "type": "object",
            "required": ["channel", "symbol", "trades"],
            "properties": {
                "channel": {"const": "trades"},
                "symbol": {"type": "string"},
                "trades": {"type": "array", "items": struct_schema(TradeMessage)},
            },
        },
    ),
    "heartbeat": _message(
        "heartbeat", "Every WEBSOCKET_PING_INTERVAL seconds; seq, epoch: the last candle's",
        timestamp=_TIME,
    ),
    "pong": _message("pong", "The answer to ping", timestamp=_TIME),
    "subscribed": _message("subscribed", "What is followed from now on", channels=_CHANNELS),
    "unsubscribed": _message("unsubscribed", "What is not any more", channels=_CHANNELS),
    "subscriptions": _message("subscriptions", "The answer to list", channels=_CHANNELS),
    "status": _message("status", "A neighbour is away or back", status={"type": "string"}),
    "error": _message("error", "A mistake; the connection stays", error={"type": "string"}),
}  # fmt: skip
CLIENT_MESSAGES: dict[str, Json] = {
    "subscribe": _message("subscribe", "Follow more", channels=_CHANNELS),
    "unsubscribe": _message("unsubscribe", "Follow less", channels=_CHANNELS),
    "list": _message("list", "What is followed?"),
    "ping": _message("ping", "Answered by pong"),
    "pong": _message("pong", "A sign of life, as any other frame"),
}


def asyncapi() -> Json:
    """Return the document."""
    names = {**SERVER_MESSAGES, **{f"client-{k}": v for k, v in CLIENT_MESSAGES.items()}}
    refs = {name: {"$ref": f"#/components/messages/{name}"} for name in names}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Linkora market data",
            "version": VERSION,
            "description": "Close codes: "
            + " ".join(f"{code}: {text}" for code, text in sorted(CLOSE_CODES.items())),
        },
        "defaultContentType": "application/json",
        "channels": {
            "ws": {
                "address": "/ws",
                "description": "The parameters of a channel may be given in the URL, for one "
                "subscription from the start; type=none for none.",
                "messages": refs,
                "bindings": {"ws": {"method": "GET", "query": CHANNEL}},
            }
        },
        "operations": {
            "told": {
                "action": "send",
                "channel": {"$ref": "#/channels/ws"},
                "messages": [
                    {"$ref": f"#/channels/ws/messages/{name}"} for name in SERVER_MESSAGES
                ],
            },
            "asked": {
                "action": "receive",
                "channel": {"$ref": "#/channels/ws"},
                "messages": [
                    {"$ref": f"#/channels/ws/messages/client-{name}"} for name in CLIENT_MESSAGES
                ],
            },
        },
        "components": {"messages": names},
    }
