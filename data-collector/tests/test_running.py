# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.running import RunningCandle
from linkora.market import Candle, Trade

MINUTE = 60_000
ZERO = Decimal(0)


def trade(id_: int, minute: int = 0, price: int = 10, quantity: int = 1, sold: bool = False):
    return Trade(
        symbol="X", id=id_, price=Decimal(price), quantity=Decimal(quantity),
        time_ms=minute * MINUTE + 1, is_buyer_maker=sold,
    )  # fmt: skip


def fold(trades: list[Trade], minute: int, *, is_closed: bool = False, last: int = 10) -> Candle:
    """The candle that the exchange would tell of these trades; ``last`` is the price before."""
    mine = [t for t in trades if t.time_ms // MINUTE == minute]
    prices = [t.price for t in mine] or [Decimal(last)]
    bought = [t for t in mine if not t.is_buyer_maker]
    return Candle(
        symbol="X", open_time_ms=minute * MINUTE, close_time_ms=(minute + 1) * MINUTE - 1,
        open=prices[0], high=max(prices), low=min(prices), close=prices[-1],
        volume=sum((t.quantity for t in mine), ZERO),
        quote_volume=sum((t.price * t.quantity for t in mine), ZERO), trades=len(mine),
        taker_buy_volume=sum((t.quantity for t in bought), ZERO),
        taker_buy_quote_volume=sum((t.price * t.quantity for t in bought), ZERO),
        is_closed=is_closed,
    )  # fmt: skip


def test_trades_after_the_klines_last_one_are_folded_on_top():
    running = RunningCandle()
    running.apply_kline(fold([trade(1), trade(2)], 0), 2)
    running.apply_trade(trade(2, price=99))
    running.apply_trade(trade(3, price=12, sold=True))
    assert running.candle == fold([trade(1), trade(2), trade(3, price=12, sold=True)], 0)


def test_after_a_missing_trade_the_kline_alone_speaks_until_it_has_caught_up():
    running = RunningCandle()
    running.apply_kline(fold([trade(1)], 0), 1)
    running.apply_trade(trade(3, price=50))
    assert running.candle == fold([trade(1)], 0)
    trades = [trade(1), trade(2), trade(3, price=50), trade(4, price=60)]
    running.apply_trade(trades[3])
    running.apply_kline(fold(trades[:3], 0), 3)
    assert running.candle == fold(trades, 0)


def test_the_next_minute_opens_with_its_first_trade():
    running = RunningCandle()
    running.apply_kline(fold([trade(1)], 0), 1)
    running.apply_trade(trade(2, minute=1, price=20))
    assert running.candle == fold([trade(2, minute=1, price=20)], 1)


def test_a_late_close_does_not_disturb_the_running_minute():
    running = RunningCandle()
    running.apply_kline(fold([trade(1)], 0), 1)
    running.apply_trade(trade(2, minute=1, price=20))
    running.apply_kline(fold([trade(1)], 0, is_closed=True), 1)
    assert running.candle == fold([trade(2, minute=1, price=20)], 1)


def test_an_open_state_never_follows_the_close_of_its_minute():
    running = RunningCandle()
    running.apply_kline(fold([trade(1)], 0, is_closed=True), 1)
    running.apply_kline(fold([trade(1)], 0), 1)
    assert running.candle is None


def test_a_minute_without_trades_is_flat_and_the_first_trade_sets_its_prices():
    running = RunningCandle()
    running.apply_kline(fold([trade(7)], 0, is_closed=True), 7)
    running.apply_kline(fold([], 1), -1)
    assert running.candle == fold([], 1)
    running.apply_trade(trade(8, minute=1, price=15))
    assert running.candle == fold([trade(8, minute=1, price=15)], 1)


def test_an_older_state_from_a_second_source_is_ignored():
    running = RunningCandle()
    running.apply_kline(fold([trade(1), trade(2), trade(3)], 0), 3)
    running.apply_kline(fold([trade(1)], 0), None)
    running.apply_kline(fold([trade(1)], 0), 1)
    assert running.candle == fold([trade(1), trade(2), trade(3)], 0)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50), st.booleans()), max_size=25),
       st.data())  # fmt: skip
def test_the_running_candle_is_the_fold_of_all_trades_told_so_far(steps, data):
    """Klines come now and then, up to the trade they have seen; no trade is lost."""
    running, trades, minute = RunningCandle(), [trade(1)], 0
    running.apply_kline(fold(trades, 0), 1)
    for number, (kind, price, sold) in enumerate(steps, 2):
        if kind == 0 and minute < 4:  # the minute ends
            running.apply_kline(
                fold(trades, minute, is_closed=True, last=trades[-1].price), trades[-1].id
            )
            minute += 1
        new = trade(trades[-1].id + 1, minute=minute, price=price, sold=sold)
        trades.append(new)
        running.apply_trade(new)
        if kind == 1:
            upto = data.draw(st.integers(1, len(trades)), label=f"kline after step {number}")
            seen = [t for t in trades[:upto] if t.time_ms // MINUTE == minute]
            if seen:
                running.apply_kline(fold(seen, minute), seen[-1].id)
        assert running.candle == fold(trades, minute)


def test_an_older_kline_after_a_row_of_rest_is_not_continued_with_a_hole():
    trades = [trade(number, quantity=number) for number in range(1, 6)]
    running = RunningCandle()
    running.apply_kline(fold(trades[:1], 0), 1)
    for each in trades[1:4]:
        running.apply_trade(each)
    running.apply_kline(fold(trades[:2], 0), None)  # by REST, which names no trade
    running.apply_kline(fold(trades[:2], 0), 2)
    running.apply_trade(trades[4])
    assert running.candle in [fold(trades[:count], 0) for count in range(6)]
