# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The descriptions of the API against the code and against a running server."""

import json
import os
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from linkora.channels import TRADES_ALL
from linkora.market import Trade
from linkora.messages import encode_trades
from linkora.timeframes import floor_minute_ms
from marketdata.asyncapi import CLIENT_MESSAGES, SERVER_MESSAGES, asyncapi
from marketdata.binance_facade import BinanceFacade
from marketdata.docs import docs_routes
from marketdata.history import history_routes
from marketdata.openapi import openapi
from marketdata.udf import Udf
from testkit.market import Collector, Server, book, minute, now_ms, receive, until

# Requests for each endpoint; API_FUZZ_EXAMPLES=1000 for a long night.
EXAMPLES = int(os.environ.get("API_FUZZ_EXAMPLES", "60"))


@pytest.mark.parametrize("path", list(openapi()["paths"]))
def test_no_generated_request_makes_a_500_or_an_undescribed_answer(
    shared_port: int, path: str
) -> None:
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(openapi())))
    known = st.sampled_from(["BTCUSDT", "BTCUSDT", "ETHUSDT", "btcusdt", "NOPE", None])

    @given(case=schema[path]["GET"].as_strategy(), symbol=known)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any, symbol: str | None) -> None:
        # Random names would only ever find 404: most questions are for one that exists.
        for where in (case.query, case.path_parameters):
            if symbol and where and "symbol" in where:
                where["symbol"] = symbol
        response = case.call(base_url=f"http://127.0.0.1:{shared_port}", timeout=20)
        assert response.status_code < 500, response.text
        case.validate_response(
            response,
            checks=[
                content_type_conformance,
                response_schema_conformance,
                status_code_conformance,
            ],
        )

    ask()


def test_every_route_is_described_and_nothing_else() -> None:
    class Nothing:
        def __getattr__(self, name: str) -> Any:
            return None

    nothing: Any = Nothing()
    routes = [
        *Udf(nothing, nothing).routes(),
        *BinanceFacade(nothing, nothing, nothing, nothing).routes(),
        *history_routes(nothing),
    ]
    own = {
        "/candles",
        "/price",
        "/orderbook",
        "/symbols",
        "/trades/{symbol}",
        "/gaps",
        "/health",
        "/metrics",
    }
    assert {route.path for route in routes} | own == set(openapi()["paths"])
    assert {route.path for route in docs_routes()} == {"/openapi.json", "/asyncapi.json", "/docs"}


def test_openapi_is_valid_by_its_own_schema() -> None:
    document = json.loads(json.dumps(openapi()))
    assert document["openapi"] == "3.1.0"
    for item in document["paths"].values():
        operation = item["get"]
        for parameter in operation["parameters"]:
            jsonschema_rs.meta.validate(parameter["schema"])
        for response in operation["responses"].values():
            for media in response.get("content", {}).values():
                jsonschema_rs.meta.validate(media["schema"])


async def test_page_needs_nothing_from_elsewhere(shared_server: Server) -> None:
    async with shared_server.client.get("/docs") as response:
        page = await response.text()
        assert "<script" not in page.lower()
        assert "http://" not in page
        assert "https://" not in page
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    for path in openapi()["paths"]:
        assert f"<code>{path}</code>" in page


def validator(name: str, group: dict[str, Any]) -> Any:
    return jsonschema_rs.validator_for(group[name]["payload"])


async def test_messages_of_a_running_server_are_as_described(
    collector: Collector, start_server: Any
) -> None:
    await collector.fill(["BTCUSDT"], minutes=3)
    wanted = [{"type": kind, "symbol": "BTCUSDT"} for kind in ("candles", "orderbook", "trades")]
    say = [
        {"type": "subscribe", "channels": wanted, "id": 1},
        {"type": "unsubscribe", "channels": [{"symbol": "BTCUSDT", "timeframe": "1M"}]},
        {"type": "list"},
        {"type": "ping"},
        {"type": "pong"},
    ]
    assert {message["type"] for message in say} == set(CLIENT_MESSAGES)
    seen: dict[str, Any] = {}
    async with (
        start_server(websocket={"ping_interval_s": 0.3}) as server,
        server.ws(type="none") as socket,
    ):
        for message in say:
            validator(message["type"], CLIENT_MESSAGES).validate(message)
            await socket.send_json(message)
        await socket.send_json({"type": "nonsense"})
        trade = Trade(
            symbol="BTCUSDT",
            id=1,
            price=Decimal(1),
            quantity=Decimal(1),
            time_ms=now_ms(),
            is_buyer_maker=True,
        )

        async def has_all() -> bool:
            await collector.publish(minute("BTCUSDT", floor_minute_ms(now_ms())))
            await collector.publish_books(book("BTCUSDT", now_ms()))
            await collector.publisher.publish(
                [(TRADES_ALL, lambda at: encode_trades("BTCUSDT", [trade], at))]
            )
            message = await receive(socket)
            kind = message.get("type") or message["channel"]
            kind = "candle" if kind == "candles" else kind
            validator(kind, SERVER_MESSAGES).validate(message)
            seen[kind] = message
            return set(seen) == set(SERVER_MESSAGES) - {"status"}

        await until(has_all)


async def test_asyncapi_refers_only_to_what_it_has(shared_server: Server) -> None:
    document = await shared_server.get("/asyncapi.json")
    assert document == json.loads(json.dumps(asyncapi()))

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [each for inner in value.values() for each in references(inner)]
        return (
            [each for inner in value for each in references(inner)]
            if isinstance(value, list)
            else []
        )

    for reference in references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert found
