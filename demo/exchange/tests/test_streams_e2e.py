# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import json

import aiohttp
import websockets

from simulator.testing import RunningExchange


async def test_a_closing_kline_equals_the_rest_row(
    exchange: RunningExchange, http: aiohttp.ClientSession
) -> None:
    async with websockets.connect(f"{exchange.ws_url}/ws/btcusdt@kline_1m") as socket:
        while True:
            kline = json.loads(await socket.recv())["k"]
            if kline["x"]:
                break
    url = f"{exchange.rest_url}/api/v3/klines"
    query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": kline["t"], "limit": "1"}
    async with http.get(url, params=query) as answer:
        rows = await answer.json()
    fields = [kline[name] for name in "tohlcvTqnVQB"]
    assert rows == [fields]
    assert exchange.truth_klines("BTCUSDT", kline["t"], kline["t"]) == rows
