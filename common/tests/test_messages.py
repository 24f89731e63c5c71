# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkora.errors import CorruptMessage
from linkora.market import Candle, Level, OrderBook, Trade
from linkora.messages import (
    Position,
    decode_candle,
    decode_order_book,
    decode_trades,
    encode_candle,
    encode_order_book,
    encode_trades,
)

NUMBERS = st.decimals(min_value=0, max_value=10**16, places=8)
COUNTS = st.integers(min_value=0, max_value=2**53)


@given(st.lists(NUMBERS, min_size=8, max_size=8), COUNTS, COUNTS, st.booleans(), COUNTS)
def test_a_candle_survives_its_message_exactly(numbers, trades, seq, is_closed, revision):
    o, h, lo, c, v, q, tv, tq = numbers
    candle = Candle(
        symbol="PEPEUSDT", open_time_ms=1_700_000_040_000, close_time_ms=1_700_000_099_999,
        open=o, high=h, low=lo, close=c, volume=v, quote_volume=q, trades=trades,
        taker_buy_volume=tv, taker_buy_quote_volume=tq, is_closed=is_closed, revision=revision,
    )  # fmt: skip
    assert decode_candle(encode_candle(candle, Position(seq, 5))) == (candle, Position(seq, 5))


def test_small_prices_are_told_without_an_exponent():
    book = OrderBook(
        symbol="PEPEUSDT", timestamp_ms=1, last_update_id=2,
        bids=(Level(Decimal("5E-8"), Decimal("1E+13")),), asks=(),
    )  # fmt: skip
    payload = encode_order_book(book, Position(1, 1))
    assert b'"price":"0.00000005","quantity":"10000000000000.00000000"' in payload
    assert decode_order_book(payload) == (book, Position(1, 1))


def test_trades_are_told_with_plain_numbers():
    trade = Trade(
        symbol="PEPEUSDT", id=9, price=Decimal("5E-8"), quantity=Decimal("1E+3"), time_ms=4,
        is_buyer_maker=True,
    )  # fmt: skip
    told = decode_trades(encode_trades("PEPEUSDT", [trade], Position(3, 2)))
    assert (told.symbol, told.seq, told.epoch) == ("PEPEUSDT", 3, 2)
    assert (told.trades[0].price, told.trades[0].quantity) == ("0.00000005", "1000.00000000")


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[1]", b"\xff", b'{"symbol": 5}', b'{"symbol":"A","timestamp":"x"}']
)
def test_what_is_no_message_is_refused_by_name(payload):
    with pytest.raises(CorruptMessage):
        decode_candle(payload)
    with pytest.raises(CorruptMessage):
        decode_order_book(payload)
