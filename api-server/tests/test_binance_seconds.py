# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""One-second candles: exact where trades are known without a hole, and silent elsewhere."""

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from linkora.market import Candle
from linkora.messages import TradeMessage
from marketdata.binance_seconds import MAX_EMPTY, SECOND_MS, Seconds, fold

NOON_MS = 1_700_000_000_000


def trade(number: int, after_ms: int, price: str = "100", quantity: str = "1") -> TradeMessage:
    return TradeMessage(
        id=number,
        price=price,
        quantity=quantity,
        timestamp=NOON_MS + after_ms,
        is_buyer_maker=number % 3 == 0,
    )


steps = st.integers(0, 2500)
prices = st.decimals("0.01", "99999", places=2).map(str)
quantities = st.decimals("0.00001", "500", places=5).map(str)


@st.composite
def histories(draw: Any) -> list[TradeMessage]:
    """Return all the trades of some seconds, numbered without a hole."""
    trades: list[TradeMessage] = []
    now_ms = draw(st.integers(0, 3000))
    for number in range(draw(st.integers(1, 40))):
        now_ms += draw(steps)
        trades.append(trade(7 + number, now_ms, draw(prices), draw(quantities)))
    return trades


def expected(history: list[TradeMessage], open_ms: int) -> tuple[Any, ...]:
    """One second straight from everything that was ever traded."""
    inside = [t for t in history if open_ms <= t.timestamp < open_ms + SECOND_MS]
    before = [Decimal(t.price) for t in history if t.timestamp < open_ms]
    shown = [Decimal(t.price) for t in inside] or before[-1:]
    amounts = [Decimal(t.quantity) for t in inside]
    quotes = [Decimal(t.price) * Decimal(t.quantity) for t in inside]
    return (
        *(shown[0], max(shown), min(shown), shown[-1]),
        *(sum(amounts), sum(quotes), len(inside)),
        sum(a for a, t in zip(amounts, inside, strict=True) if not t.is_buyer_maker),
        sum(q for q, t in zip(quotes, inside, strict=True) if not t.is_buyer_maker),
    )


def numbers(candle: Candle) -> tuple[Any, ...]:
    return (
        *(candle.open, candle.high, candle.low, candle.close),
        *(candle.volume, candle.quote_volume, candle.trades),
        candle.taker_buy_volume,
        candle.taker_buy_quote_volume,
    )


@settings(deadline=None)
@given(histories(), st.data())
def test_every_told_second_equals_all_its_trades_whatever_part_is_known(
    history: list[TradeMessage], data: Any
) -> None:
    first = data.draw(st.integers(0, len(history) - 1))
    lost = data.draw(st.sets(st.integers(first, len(history) - 1), max_size=3))
    known = [t for index, t in enumerate(history) if index >= first and index not in lost]
    told = fold("X", data.draw(st.permutations(known + known[:2])))
    # What has been traded since the newest that is known is news to come, not an error.
    newest_id = max((t.id for t in known), default=0)
    so_far = [t for t in history if t.id <= newest_id]
    for candle in told:
        assert numbers(candle) == expected(so_far, candle.open_time_ms)
    opens = [candle.open_time_ms for candle in told]
    assert opens == list(range(opens[0], opens[0] + len(opens) * 1000, 1000)) if opens else True
    assert [candle.is_closed for candle in told] == [True] * (len(told) - 1) + [False] * bool(told)


@settings(deadline=None)
@given(histories())
def test_folding_one_by_one_tells_the_same_seconds(history: list[TradeMessage]) -> None:
    seconds = Seconds("X")
    told = [candle for t in history for candle in seconds.add(t)]
    running = [] if seconds.running is None else [seconds.running]
    assert told + running == fold("X", history)


@settings(deadline=None)
@given(histories())
def test_every_second_after_the_first_is_told_if_nothing_is_missing(
    history: list[TradeMessage],
) -> None:
    first_ms = history[0].timestamp - history[0].timestamp % 1000 + 1000
    last_ms = history[-1].timestamp - history[-1].timestamp % 1000
    told = [candle.open_time_ms for candle in fold("X", history)]
    assert told == list(range(first_ms, last_ms + 1, 1000))


def test_second_in_which_the_known_trades_begin_is_not_told() -> None:
    assert fold("X", [trade(1, 300), trade(2, 900)]) == []


def test_second_without_trades_shows_the_last_price() -> None:
    told = fold("X", [trade(1, 0, "5"), trade(2, 2000, "9")])
    assert [(c.open_time_ms - NOON_MS, c.close, c.trades, c.volume) for c in told] == [
        (1000, Decimal(5), 0, 0),
        (2000, Decimal(9), 1, 1),
    ]


def test_hole_in_the_numbers_lets_nothing_from_before_stand() -> None:
    before = [trade(n, n * 1000) for n in range(1, 4)]
    after = [trade(n, n * 1000) for n in range(5, 8)]
    told = fold("X", before + after)
    assert [c.open_time_ms - NOON_MS for c in told] == [6000, 7000]


def test_trade_that_goes_back_in_time_is_no_ground_to_stand_on() -> None:
    told = fold("X", [trade(1, 0), trade(2, 3000), trade(3, 1500), trade(4, 2500)])
    assert [c.open_time_ms - NOON_MS for c in told] == [2000]


def test_long_silence_is_told_by_its_newest_seconds_only() -> None:
    seconds = Seconds("X")
    seconds.add(trade(1, 0))
    told = seconds.add(trade(2, 5_000_000))
    assert len(told) == MAX_EMPTY
    assert told[-1].close_time_ms == NOON_MS + 4_999_999


def test_trade_that_is_known_already_changes_nothing() -> None:
    seconds = Seconds("X")
    for number in range(3):
        seconds.add(trade(number, number * 1000))
    before = msgspec.json.encode(seconds.running)
    assert seconds.add(trade(1, 1000, "7")) == []
    assert msgspec.json.encode(seconds.running) == before
