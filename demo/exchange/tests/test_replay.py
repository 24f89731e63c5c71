# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A recorded capture, played back."""

import asyncio
import gzip
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import websockets

from simulator.capture import CaptureError, read_capture
from simulator.exchange import Exchange
from simulator.history import minute_klines
from simulator.replay import shift_to
from simulator.settings import Settings
from simulator.testing import running_exchange
from simulator.trades import Trades

# Recordings are kept out of the product's tree; where this one is, it is played as well.
REAL_CAPTURE = Path(os.environ.get("REAL_CAPTURE", "/work/shared/data/binance/btcusdt_20240808.gz"))
RECORDED_MS = 1_700_000_095_123


def generate_trades() -> Trades:
    exchange = Exchange(Settings(symbols=("BTCUSDT",)))
    return exchange.listings["BTCUSDT"].market.trades(RECORDED_MS, RECORDED_MS + 20_000)


def write_capture(path: Path, trades: Trades) -> None:
    """Write generated trades and a small book in the format of a recorded capture."""
    lines: list[tuple[int, dict[str, Any]]] = []
    for number, time_ms, price, lots in zip(
        trades.ids.tolist(),
        trades.times_ms.tolist(),
        trades.prices.tolist(),
        trades.lots.tolist(),
        strict=True,
    ):
        trade = {"e": "trade", "E": time_ms, "t": number, "T": time_ms, "m": True}
        trade |= {"p": f"{price // 100}.{price % 100:02d}000000", "q": f"0.{lots:05d}000"}
        lines.append((time_ms, {"stream": "btcusdt@trade", "data": trade}))
    book = {"lastUpdateId": 100, "bids": [["5.00", "1"]], "asks": [["6.00", "2"]]}
    lines.append((RECORDED_MS, book))
    for number in range(-2, 90):
        time_ms = RECORDED_MS + number * 200
        diff = {"e": "depthUpdate", "E": time_ms, "U": 100 + number, "u": 100 + number}
        diff |= {"b": [["5.00", f"{number + 3}.00000"]], "a": [["7.00", str(number % 2)]]}
        lines.append((time_ms, {"stream": "btcusdt@depth@100ms", "data": diff}))
        quote = {"u": 100 + number, "b": "5.00", "B": "1.5", "a": "6.00", "A": "2"}
        lines.append((time_ms, {"stream": "btcusdt@bookTicker", "data": quote}))
    lines.sort(key=lambda line: line[0])
    text = "".join(f"{time_ms * 1_000_000} {json.dumps(line)}\n" for time_ms, line in lines)
    path.write_bytes(gzip.compress(text.encode()))


@pytest.fixture
def trades() -> Trades:
    return generate_trades()


@pytest.fixture
def capture(tmp_path: Path, trades: Trades) -> Path:
    write_capture(tmp_path / "capture.gz", trades)
    return tmp_path / "capture.gz"


@pytest.mark.parametrize("now_ms", [1_780_000_000_000, 1_780_000_019_999, 1_780_000_020_000])
def test_a_recording_begins_within_a_minute_and_keeps_its_place_in_it(now_ms: int) -> None:
    begins_ms = RECORDED_MS + shift_to(RECORDED_MS, now_ms, 0)
    assert 0 <= begins_ms - now_ms < 60_000
    assert begins_ms % 60_000 == RECORDED_MS % 60_000
    assert shift_to(RECORDED_MS, now_ms, 3) == shift_to(RECORDED_MS, now_ms, 0) - 180_000


def test_klines_are_built_from_the_recorded_trades(capture: Path, trades: Trades) -> None:
    exchange = Exchange(Settings(symbols=("BTCUSDT",), replay=str(capture), replay_minutes_ago=2))
    market = exchange.listings["BTCUSDT"].market
    rows = minute_klines(market, 0, exchange.replay_until_ms + 120_000, exchange.now_ms() + 300_000)
    first, second, silent, *_ = rows.tolist()
    before = [t for t in trades.times_ms.tolist() if t // 60_000 == RECORDED_MS // 60_000]
    assert [first[8], first[8] + second[8]] == [len(before), len(trades)]
    assert [first[2], second[5]] == [int(trades.prices[0]), int(trades.prices[-1])]
    assert first[6] + second[6] == int(trades.lots.sum())
    assert [first[11], second[12]] == [int(trades.ids[0]), int(trades.ids[-1])]
    assert silent[2:9] == [second[5]] * 4 + [0, 0, 0]


async def test_streams_play_recorded_trades_diffs_and_quotes(capture: Path, trades: Trades) -> None:
    async with running_exchange(
        symbols="BTCUSDT", replay=str(capture), replay_minutes_ago=1
    ) as exchange:
        exchange.set_now(exchange.report()["replay_until_ms"] - 3_000)
        names = "btcusdt@trade/btcusdt@depth@100ms/btcusdt@depth5@100ms/btcusdt@bookTicker"
        by_stream = defaultdict(list)
        async with websockets.connect(f"{exchange.ws_url}/stream?streams={names}") as socket:
            while True:
                try:
                    message = json.loads(await asyncio.wait_for(socket.recv(), 3.5))
                except TimeoutError:
                    break
                by_stream[message["stream"]].append(message["data"])
                if message["data"].get("t") == int(trades.ids[-1]):
                    break
    played = by_stream["btcusdt@trade"]
    assert played[-1]["t"] == int(trades.ids[-1])
    assert played[-1]["T"] % 60_000 == int(trades.times_ms[-1]) % 60_000
    assert int(played[-1]["q"].replace(".", "")) == int(trades.lots[-1]) * 1_000
    diffs, quotes = by_stream["btcusdt@depth@100ms"], by_stream["btcusdt@bookTicker"]
    assert [diff["u"] for diff in diffs] == list(range(diffs[0]["u"], diffs[-1]["u"] + 1))
    assert {quote["u"] for quote in quotes} >= {diff["u"] for diff in diffs[1:-1]}
    quantities = {diff["u"]: diff["b"][0][1] for diff in diffs}
    books = [b for b in by_stream["btcusdt@depth5@100ms"] if b["lastUpdateId"] in quantities]
    assert len(books) > 5
    for book in books:
        assert book["bids"] == [["5.00000000", quantities[book["lastUpdateId"]]]]


def test_diffs_before_the_snapshot_are_left_out(capture: Path) -> None:
    exchange = Exchange(Settings(symbols=("BTCUSDT",), replay=str(capture), replay_minutes_ago=5))
    source = exchange.listings["BTCUSDT"].book
    (first, *_) = source.changes(0, exchange.now_ms())
    assert first.first_id == 101
    start = source.book(0, 10)
    assert start is not None
    assert (start.update_id, start.bids.tolist()) == (100, [[500, 100_000]])


@pytest.mark.parametrize("content", [b"1 nonsense\n", b"x {}\n", b""])
def test_a_wrong_capture_is_refused_with_its_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wrong.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(CaptureError, match=r"wrong\.gz"):
        read_capture(path)


@pytest.mark.skipif(not REAL_CAPTURE.exists(), reason=f"the recording {REAL_CAPTURE} is not here")
def test_the_real_capture_is_played_true_to_its_trades_and_quotes() -> None:
    exchange = Exchange(
        Settings(symbols=("BTCUSDT",), replay=str(REAL_CAPTURE), replay_minutes_ago=7)
    )
    listing = exchange.listings["BTCUSDT"]
    minutes: defaultdict[int, list[Any]] = defaultdict(list)
    with gzip.open(REAL_CAPTURE, "rt") as lines:
        for line in lines:
            data = json.loads(line.partition(" ")[2]).get("data", {})
            if data.get("e") == "trade":
                minutes[data["T"] // 60_000].append(data)
    rows = minute_klines(listing.market, 0, exchange.now_ms(), exchange.now_ms()).tolist()
    assert len(minutes) == 7
    for row, minute in zip(rows, sorted(minutes), strict=False):
        prices = [int(t["p"].replace(".", "")) // 10**6 for t in minutes[minute]]
        assert row[2:6] == [prices[0], max(prices), min(prices), prices[-1]]
        assert row[8] == len(prices)
        assert sum(int(t["q"].replace(".", "")) for t in minutes[minute]) == row[6] * 100
    tops = {top.update_id: top for top in listing.book.tops(0, exchange.now_ms())}
    changes, compared = listing.book.changes(0, exchange.now_ms()), 0
    for change in changes[::10]:
        book = listing.book.book(change.time_ms, 1)
        if book and book.update_id in tops:
            top = tops[book.update_id]
            assert (top.bids.tolist(), top.asks.tolist()) == (
                book.bids.tolist(),
                book.asks.tolist(),
            )
            compared += 1
    assert compared > 30
