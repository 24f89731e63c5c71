# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from linkora.requests import HEADER, RequestIds


def served(registry=None):
    async def tell(request):
        return PlainTextResponse(structlog.contextvars.get_contextvars()["request_id"])

    async def fail(request):
        raise ValueError("broken")

    async def failed(request, error):
        return PlainTextResponse("sorry", 500)

    app = Starlette(
        routes=[Route("/tell/{name}", tell), Route("/fail", fail)],
        exception_handlers={Exception: failed},
    )
    transport = httpx.ASGITransport(RequestIds(app, registry), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_each_request_has_an_id_of_its_own_in_the_answer_and_in_the_logs():
    async with served() as client:
        one, two = [await client.get("/tell/a") for _ in range(2)]
    assert one.headers[HEADER] == one.text
    assert two.headers[HEADER] == two.text
    assert one.text != two.text


async def test_the_proxys_id_is_kept():
    async with served() as client:
        answer = await client.get("/tell/a", headers={HEADER: "edge-1.2_3"})
    assert answer.text == answer.headers[HEADER] == "edge-1.2_3"


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", 'x","level":"info', "a\u00e9"])
async def test_an_id_that_could_forge_a_log_line_is_replaced(given):
    async with served() as client:
        answer = await client.get("/tell/a", headers={HEADER: given.encode()})
    assert answer.text != given
    assert len(answer.text) == 16


async def test_a_failed_request_has_its_id_too():
    async with served() as client:
        answer = await client.get("/fail", headers={HEADER: "edge-7"})
    assert (answer.status_code, answer.headers[HEADER]) == (500, "edge-7")


async def test_answers_are_counted_by_endpoint_and_status_not_by_path():
    registry = CollectorRegistry()
    async with served(registry) as client:
        for path in ("/tell/a", "/tell/b", "/fail", "/nowhere/1", "/nowhere/2"):
            await client.get(path)

    def count(endpoint, status):
        labels = {"endpoint": endpoint, "status": status}
        return registry.get_sample_value("http_requests_total", labels)

    assert count("tell", "200") == 2
    assert count("fail", "500") == 1
    assert count("unknown", "404") == 2
    seconds = registry.get_sample_value("http_request_seconds_count", {"endpoint": "tell"})
    assert seconds == 2
