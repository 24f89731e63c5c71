# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The forms of what goes over Redis. JSON, UTF-8; fields are only ever added.

Each message is a whole state with a key, never an increment. ``seq`` counts up by one per channel
and publisher, ``epoch`` is the publisher's start in Unix microseconds: a reader that sees a hole
or a new epoch may have missed something and reads the database again. Several collectors that
share the symbols publish side by side, each with an epoch of its own.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, TypeVar

import msgspec

from linkora.decimals import PLAIN_NUMBER, plain
from linkora.errors import CorruptMessage
from linkora.market import Candle, Level, OrderBook, Trade
from linkora.timeframes import MINUTE_MS

# What a reader takes: a batch of 5,000 trades, the longest of all, has half a megabyte.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# So deep, a decoder's stack still holds; a batch of trades has a bracket for each.
MAX_BRACKETS = 8192
_YEAR_2100_MS = 4_102_444_800_000

# As JSON schema has it: "$" alone would let a line end follow.
Number = Annotated[str, msgspec.Meta(pattern=rf"^{PLAIN_NUMBER}(?!\n)$")]
Symbol = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
TimeMs = Annotated[int, msgspec.Meta(ge=0, lt=_YEAR_2100_MS)]
MinuteMs = Annotated[int, msgspec.Meta(ge=0, lt=_YEAR_2100_MS, multiple_of=MINUTE_MS)]


class Position(msgspec.Struct, frozen=True):
    """A message's place in its channel: number and publisher."""

    seq: int
    epoch: int


class CandleMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One one-minute candle on ``candles:all`` and ``candles:{symbol}``."""

    symbol: Symbol
    timestamp: MinuteMs
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    quote_volume: Number
    trades: Count
    taker_buy_volume: Number
    taker_buy_quote_volume: Number
    close_time: TimeMs
    is_closed: bool
    revision: Count
    seq: Count
    epoch: Count


class LevelMessage(msgspec.Struct, frozen=True):
    """One level of a book: price and quantity as plain strings."""

    price: Number
    quantity: Number


class OrderBookMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One order book on ``orderbook:all`` and ``orderbook:{symbol}``."""

    symbol: Symbol
    timestamp: TimeMs
    last_update_id: Count
    bids: list[LevelMessage]
    asks: list[LevelMessage]
    seq: Count
    epoch: Count


class TradeMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One trade: an element of ``TradesMessage`` and of the list of recent trades."""

    id: Count
    price: Number
    quantity: Number
    timestamp: TimeMs
    is_buyer_maker: bool


class TradesMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The newest trades of one symbol on ``trades:all`` and ``trades:{symbol}``, oldest first."""

    symbol: Symbol
    trades: Annotated[list[TradeMessage], msgspec.Meta(min_length=1)]
    seq: Count
    epoch: Count


M = TypeVar("M")
_encoder = msgspec.json.Encoder()
_candle_decoder = msgspec.json.Decoder(CandleMessage)
_book_decoder = msgspec.json.Decoder(OrderBookMessage)
_trades_decoder = msgspec.json.Decoder(TradesMessage)


def encode_candle(candle: Candle, position: Position) -> bytes:
    """Return the message that tells ``candle``."""
    return _encoder.encode(
        CandleMessage(
            symbol=candle.symbol,
            timestamp=candle.open_time_ms,
            open=plain(candle.open),
            high=plain(candle.high),
            low=plain(candle.low),
            close=plain(candle.close),
            volume=plain(candle.volume),
            quote_volume=plain(candle.quote_volume),
            trades=candle.trades,
            taker_buy_volume=plain(candle.taker_buy_volume),
            taker_buy_quote_volume=plain(candle.taker_buy_quote_volume),
            close_time=candle.close_time_ms,
            is_closed=candle.is_closed,
            revision=candle.revision,
            seq=position.seq,
            epoch=position.epoch,
        )
    )


def decode_candle(payload: bytes) -> tuple[Candle, Position]:
    """Return the candle of a message and its place in the channel.

    Raises:
        CorruptMessage: If ``payload`` is not a candle message.
    """
    message = decode(_candle_decoder, payload)
    candle = Candle(
        symbol=message.symbol,
        open_time_ms=message.timestamp,
        close_time_ms=message.close_time,
        open=Decimal(message.open),
        high=Decimal(message.high),
        low=Decimal(message.low),
        close=Decimal(message.close),
        volume=Decimal(message.volume),
        quote_volume=Decimal(message.quote_volume),
        trades=message.trades,
        taker_buy_volume=Decimal(message.taker_buy_volume),
        taker_buy_quote_volume=Decimal(message.taker_buy_quote_volume),
        is_closed=message.is_closed,
        revision=message.revision,
    )
    return candle, Position(message.seq, message.epoch)


def encode_order_book(book: OrderBook, position: Position) -> bytes:
    """Return the message that tells ``book``."""
    return _encoder.encode(
        OrderBookMessage(
            symbol=book.symbol,
            timestamp=book.timestamp_ms,
            last_update_id=book.last_update_id,
            bids=level_messages(book.bids),
            asks=level_messages(book.asks),
            seq=position.seq,
            epoch=position.epoch,
        )
    )


def decode_order_book(payload: bytes) -> tuple[OrderBook, Position]:
    """Return the order book of a message and its place in the channel.

    Raises:
        CorruptMessage: If ``payload`` is not an order book message.
    """
    message = decode(_book_decoder, payload)
    book = OrderBook(
        symbol=message.symbol,
        timestamp_ms=message.timestamp,
        last_update_id=message.last_update_id,
        bids=tuple(Level(Decimal(x.price), Decimal(x.quantity)) for x in message.bids),
        asks=tuple(Level(Decimal(x.price), Decimal(x.quantity)) for x in message.asks),
    )
    return book, Position(message.seq, message.epoch)


def encode_trades(symbol: str, trades: Sequence[Trade], position: Position) -> bytes:
    """Return the message that tells these trades of one symbol, oldest first."""
    told = [trade_message(trade) for trade in trades]
    return _encoder.encode(
        TradesMessage(symbol=symbol, trades=told, seq=position.seq, epoch=position.epoch)
    )


def decode_trades(payload: bytes) -> TradesMessage:
    """Return a message of trades in its wire form, which is also what clients are told.

    Raises:
        CorruptMessage: If ``payload`` is not one.
    """
    return decode(_trades_decoder, payload)


def trade_message(trade: Trade) -> TradeMessage:
    """Return a trade in its wire form."""
    return TradeMessage(
        id=trade.id,
        price=plain(trade.price),
        quantity=plain(trade.quantity),
        timestamp=trade.time_ms,
        is_buyer_maker=trade.is_buyer_maker,
    )


def level_messages(levels: tuple[Level, ...]) -> list[LevelMessage]:
    """Return the levels in their wire form, order kept."""
    return [LevelMessage(plain(level.price), plain(level.quantity)) for level in levels]


def decode(decoder: msgspec.json.Decoder[M], payload: bytes) -> M:
    """Return a message from a channel, whatever it was that came.

    Raises:
        CorruptMessage: If ``decoder`` cannot make a message of it.
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        raise CorruptMessage(f"{len(payload)} bytes: {payload[:200]!r}")
    if is_too_deep(payload, MAX_BRACKETS):
        raise CorruptMessage(f"nested too deep: {payload[:200]!r}")
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptMessage(f"{error}: {payload[:200]!r}") from error


def is_too_deep(text: str | bytes, most: int) -> bool:
    """Return whether JSON has more than ``most`` brackets; to be asked before decoding.

    Python's own bound is not enough: libraries lift it for the whole process (py_ecc, which web3
    brings, to 100,000), and then 60,000 brackets end the process.
    """
    if isinstance(text, str):
        return text.count("[") + text.count("{") > most
    return text.count(b"[") + text.count(b"{") > most
