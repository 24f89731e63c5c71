# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import time
from typing import Any

import pytest

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
