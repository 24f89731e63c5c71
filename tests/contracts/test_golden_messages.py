# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Messages as they were once published. Files are added here, never changed and never removed.

A publisher may be older or newer than its readers, so what was understood once stays understood.
"""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from linkora.market import Trade
from linkora.messages import (
    Position,
    decode_candle,
    decode_order_book,
    decode_trades,
    encode_candle,
    encode_order_book,
    encode_trades,
)
from orders.messages import decode_order_message, encode_order_message

GOLDEN = Path(__file__).parent / "golden"


def candle_again(payload: bytes) -> bytes:
    return encode_candle(*decode_candle(payload))


def book_again(payload: bytes) -> bytes:
    return encode_order_book(*decode_order_book(payload))


def trades_again(payload: bytes) -> bytes:
    told = decode_trades(payload)
    trades = [
        Trade(
            symbol=told.symbol, id=t.id, price=Decimal(t.price), quantity=Decimal(t.quantity),
            time_ms=t.timestamp, is_buyer_maker=t.is_buyer_maker,
        )
        for t in told.trades
    ]  # fmt: skip
    return encode_trades(told.symbol, trades, Position(told.seq, told.epoch))


def order_again(payload: bytes) -> bytes:
    told = decode_order_message(payload)
    place = Position(told.seq, told.epoch)
    return encode_order_message(told.order, place, is_removed=told.is_removed)


KINDS = {
    "candle": candle_again,
    "order-book": book_again,
    "trades": trades_again,
    "order": order_again,
    "orders-resync": order_again,
}
"""``orders-resync``, on the orders' channel, has null in the order's place: any number of orders
may be other ones now, not told one by one, so that whoever shows some reads them all again."""


def test_a_message_without_an_order_is_understood_as_such():
    told = decode_order_message(files("orders-resync")[-1].read_bytes())
    assert told.order is None
    assert not told.is_removed


def files(kind: str) -> list[Path]:
    return sorted(GOLDEN.glob(f"{kind}-[0-9]*.json"))


def test_every_kind_of_message_has_its_golden_file():
    assert {kind for kind in KINDS if files(kind)} == set(KINDS)
    known = [path for kind in KINDS for path in files(kind)]
    assert sorted(GOLDEN.iterdir()) == sorted(known)


@pytest.mark.parametrize("kind", KINDS)
def test_old_messages_are_understood_and_told_again_with_nothing_lost(kind):
    for path in files(kind):
        payload = path.read_bytes().strip()
        again: Callable[[bytes], bytes] = KINDS[kind]
        old, new = msgspec.json.decode(payload), msgspec.json.decode(again(payload))
        assert {name: new[name] for name in old} == old, path.name


@pytest.mark.parametrize("kind", KINDS)
def test_the_newest_message_is_exactly_what_is_published_now(kind):
    payload = files(kind)[-1].read_bytes().strip()
    assert KINDS[kind](payload) == payload


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_a_reader_does_not_know_is_ignored(kind):
    payload = files(kind)[-1].read_bytes().strip()
    newer = payload[:-1] + b',"added_later":{"x":[1]}}'
    assert KINDS[kind](newer) == payload
