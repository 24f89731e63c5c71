# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import time
from typing import Any

import pytest

from linkora.timeframes import TIMEFRAMES
from marketdata.udf import RESOLUTIONS
from testkit.market import Server


async def test_config_offers_every_timeframe(shared_server: Server) -> None:
    config = await shared_server.get("/udf/config")
    assert len(config["supported_resolutions"]) == 13
    assert config["supports_search"] is True


async def test_time_is_plain_text(shared_server: Server) -> None:
    async with shared_server.client.get("/udf/time") as response:
        assert abs(int(await response.text()) - time.time()) < 60


async def test_symbol_says_how_it_is_quoted(shared_server: Server) -> None:
    for name in ("BTCUSDT", "Binance:BTCUSDT", "btcusdt"):
        info = await shared_server.get("/udf/symbols", symbol=name)
        assert info["ticker"] == "BTCUSDT"
        assert info["timezone"] == "Etc/UTC"
        assert info["pricescale"] == 100
        assert info["currency_code"] == "USDT"
    assert await shared_server.refused("/udf/symbols", symbol="NOPE") == (
        404,
        {"s": "error", "errmsg": "unknown_symbol"},
    )


async def test_search_finds_by_any_part(shared_server: Server) -> None:
    found = await shared_server.get("/udf/search", query="eth", limit=10)
    assert [each["ticker"] for each in found] == ["ETHUSDT"]
    assert len(await shared_server.get("/udf/search", query="usdt")) == 2
    for text in ("Binance:ETHUSDT", "binance:eth", "eth/usdt"):  # as its field of symbols may say
        found = await shared_server.get("/udf/search", query=text, type="crypto", exchange="")
        assert [each["ticker"] for each in found] == ["ETHUSDT"]
    assert len(await shared_server.get("/udf/search", query="", limit=100_000)) == 2
    assert await shared_server.get("/udf/search", query="usdt", exchange="Other") == []


@pytest.mark.parametrize("resolution", [*RESOLUTIONS, "D", "W", "M"])
async def test_history_has_every_resolution(shared_server: Server, resolution: str) -> None:
    now_s = int(time.time())
    answer = await shared_server.get(
        "/udf/history", symbol="BTCUSDT", resolution=resolution, **{"from": 0}, to=now_s + 1
    )
    assert answer["s"] == "ok"
    assert answer["t"] == sorted(answer["t"])
    assert {len(answer[name]) for name in "tohlcv"} == {len(answer["t"])}


async def history(server: Server, **params: Any) -> Any:
    return await server.get("/udf/history", symbol="BTCUSDT", resolution="5", **params)


async def test_to_is_exclusive_and_countback_outranks_from(shared_server: Server) -> None:
    every = await history(shared_server, **{"from": 0}, to=int(time.time()) + 1)
    last = every["t"][-1]
    assert (await history(shared_server, **{"from": 0}, to=last))["t"][-1] == every["t"][-2]
    counted = await history(shared_server, **{"from": last}, to=last + 1, countback=4)
    assert counted["t"] == every["t"][-4:]
    spanned = await history(shared_server, **{"from": every["t"][-3]}, to=last)
    assert spanned["t"] == every["t"][-3:-1]
    candles = await shared_server.get("/candles", symbol="BTCUSDT", timeframe="5", limit=4)
    assert counted["h"] == [float(row["high_price"]) for row in candles]


async def test_more_bars_than_an_answer_holds_are_asked_for_in_steps(
    shared_server: Server,
) -> None:
    every = await shared_server.get("/candles", symbol="BTCUSDT", timeframe="1", limit=5000)
    opens = [row["timestamp"] // 1000 for row in every]
    got: list[int] = []
    to = opens[-1] + 1
    for _ in range(10):  # as the library goes back, until there is nothing older
        page = await shared_server.get(
            "/udf/history", symbol="BTCUSDT", resolution="1",
            **{"from": to - 60}, to=to, countback=1200,
        )  # fmt: skip
        if page["s"] == "no_data":
            break
        got = page["t"] + got
        to = page["t"][0]
    assert page == {"s": "no_data"}
    assert got == opens
    most = await shared_server.get(
        "/udf/history", symbol="BTCUSDT", resolution="1", **{"from": 0}, to=to + 60, countback=9999
    )
    assert most["s"] == "ok"


async def test_bars_of_every_resolution_are_the_candles(shared_server: Server) -> None:
    """The thirteen timeframes, through the names that the library gives them."""
    seen = set()
    for resolution, frame in RESOLUTIONS.items():
        to = int(time.time()) + 1
        bars = await shared_server.get(
            "/udf/history", symbol="BTCUSDT", resolution=resolution,
            **{"from": to - 60}, to=to, countback=3,
        )  # fmt: skip
        rows = await shared_server.get("/candles", symbol="BTCUSDT", timeframe=frame.name, limit=3)
        assert bars["t"] == [row["timestamp"] // 1000 for row in rows]
        for column, name in zip("ohlc", ("open", "high", "low", "close"), strict=True):
            assert bars[column] == [float(row[f"{name}_price"]) for row in rows]
        assert bars["v"] == [float(row["volume"]) for row in rows]
        seen.add(frame.name)
    assert seen == set(TIMEFRAMES)


async def test_symbol_offers_what_history_answers(shared_server: Server) -> None:
    info = await shared_server.get("/udf/symbols", symbol="BTCUSDT")
    config = await shared_server.get("/udf/config")
    assert info["supported_resolutions"] == config["supported_resolutions"] == list(RESOLUTIONS)
    minutes = [name for name in RESOLUTIONS if name.isdigit()]
    assert info["intraday_multipliers"] == minutes  # or the library would make them itself
    assert (info["has_intraday"], info["has_daily"], info["has_weekly_and_monthly"]) == (True,) * 3
    assert (info["session"], info["data_status"]) == ("24x7", "streaming")


async def test_empty_range_says_where_older_bars_are(shared_server: Server) -> None:
    every = await history(shared_server, **{"from": 0}, to=int(time.time()) + 1)
    before = await history(shared_server, **{"from": 0}, to=every["t"][0])
    assert before == {"s": "no_data"}
    future = every["t"][-1] + 86_400
    after = await history(shared_server, **{"from": future}, to=future + 300)
    assert after == {"s": "no_data", "nextTime": every["t"][-1]}


@pytest.mark.parametrize(
    "params",
    [
        {"symbol": "BTCUSDT", "resolution": "7", "from": "0", "to": "1"},
        {"symbol": "NOPE", "resolution": "5", "from": "0", "to": "1"},
        {"symbol": "BTCUSDT", "resolution": "5", "from": "x", "to": "1"},
        {"symbol": "BTCUSDT", "resolution": "5", "from": "0", "to": "1", "countback": "0"},
    ],
)
async def test_wrong_request_is_an_error_in_udf_form(
    shared_server: Server, params: dict[str, str]
) -> None:
    status, body = await shared_server.refused("/udf/history", **params)
    assert status in {400, 404}
    assert body["s"] == "error"
    assert body["errmsg"]


async def test_a_number_out_of_bounds_is_named(shared_server: Server) -> None:
    wanted = {"symbol": "BTCUSDT", "resolution": "5", "from": "0", "to": "1", "countback": "0"}
    assert await shared_server.refused("/udf/history", **wanted) == (
        400, {"s": "error", "errmsg": "countback must be an integer from 1 on"},
    )  # fmt: skip
    assert await shared_server.refused("/udf/search", query="btc", limit="x") == (
        400, {"s": "error", "errmsg": "limit must be an integer from 1 on"},
    )  # fmt: skip
