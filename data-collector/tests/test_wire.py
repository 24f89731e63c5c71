# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from decimal import Decimal

import pytest

from collector.binance.forms import ErrorAnswer, ExchangeInfo, KlineEvent
from collector.binance.wire import candle_of_event, candle_of_row, decode, decode_klines, number
from linkora.errors import CorruptMessage
from testkit.recorded import recorded

ROW = '[{open},"1.00000000","2","0.5","1.5","10",{close},"15",3,"4","6","0"]'


def row(open_ms: int, close_ms: int) -> str:
    return ROW.format(open=open_ms, close=close_ms)


def test_a_real_answer_across_an_outage_keeps_its_truncated_close():
    rows = decode_klines(recorded("btcusdt_5m_klines_2020-02-19_gap.json").read_bytes())
    truncated = [r for r in rows if r.close_time_ms - r.open_time_ms != 299_999]
    assert [(r.open_time_ms, r.close_time_ms) for r in truncated] == [
        (1582112100000, 1582112132286)
    ]


def test_real_frames_with_closes_and_minutes_without_trades_are_understood():
    frames = [
        line.split(": ", 1)[1]
        for line in recorded("binance_tr_ws_frames.txt").read_text().splitlines()
        if '"e":"kline"' in line
    ]
    events = [decode(KlineEvent, frame[frame.index('"data":') + 7 : -1]) for frame in frames]
    quiet = [event for event in events if event.k.n == 0]
    assert quiet
    assert any(event.k.x for event in events)
    for event in quiet:
        candle = candle_of_event(event)
        assert event.k.L == -1
        assert candle.open == candle.high == candle.low == candle.close
        assert candle.volume == 0


def test_an_open_off_the_grid_belongs_to_its_minute():
    (only,) = decode_klines(f"[{row(1518168494789, 1518168539999)}]".encode())
    candle = candle_of_row("BTCUSDT", only, is_closed=True)
    assert candle.open_time_ms == 1518168480000
    assert candle.close_time_ms == 1518168539999


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>403</html>",
        b'{"code":-1000,"msg":"x"}',
        b"[[1,2,3]]",
        f"[{row(60_000, 119_999)},{row(60_000, 119_999)}]".encode(),
        f"[{row(120_000, 179_999)},{row(60_000, 119_999)}]".encode(),
        f"[{row(60_000, 59_999)}]".encode(),
        f"[{row(60_000, 119_999)}".encode(),
    ],
)
def test_an_answer_that_cannot_be_true_is_refused(body):
    with pytest.raises(CorruptMessage):
        decode_klines(body)


@pytest.mark.parametrize(
    "text", ["", "NaN", "-1", "1e5", "Infinity", "1.", ".5", "0x1", "1\n", "\u0661"]
)
def test_only_plain_decimal_numbers_are_numbers(text):
    with pytest.raises(CorruptMessage):
        number(text)


def test_numbers_are_exact_whatever_their_size():
    assert number("12345678901234567890.12345678") == Decimal("12345678901234567890.12345678")


def test_a_ban_tells_its_end():
    text = "Way too much request weight used; IP banned until 1573559862353. Please use"
    assert ErrorAnswer(-1003, text).banned_until_ms == 1573559862353
    assert ErrorAnswer(-1003, "Too much request weight used").banned_until_ms is None


def test_the_limit_is_the_one_that_the_exchange_states():
    info = decode(
        ExchangeInfo,
        '{"serverTime":1,"symbols":[],"rateLimits":['
        '{"rateLimitType":"RAW_REQUESTS","interval":"MINUTE","intervalNum":5,"limit":61000},'
        '{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000}]}',
    )
    assert info.weight_per_minute == 6000
