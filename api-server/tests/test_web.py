# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""How the web page is handed out."""

import re

import httpx
import pytest
from starlette.applications import Starlette

from marketdata.web import PAGE_FOLDER, page_routes, security_headers


@pytest.fixture
async def browser():
    transport = httpx.ASGITransport(Starlette(routes=page_routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://a.test:8022") as client:
        yield client


async def test_every_file_that_the_page_names_is_there(browser):
    page = await browser.get("/")
    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="(web/[^"]+)"', page.text)
    assert len(named) >= 6
    for path in named:
        answer = await browser.get(f"/{path}")
        assert answer.status_code == 200, path
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_every_module_that_a_module_imports_is_there():
    for module in (PAGE_FOLDER / "src").glob("*.js"):
        for path in re.findall(r'from "(\.[^"]+)"', module.read_text()):
            assert (module.parent / path).is_file(), f"{module.name}: {path}"


async def test_the_page_names_no_other_host_than_the_one_its_chart_library_asks_for(browser):
    page = await browser.get("/")
    assert re.findall(r"https?://[^\"/]+", page.text) == ["https://www.tradingview.com"]


@pytest.mark.parametrize("path", ["/web/src/main.js", "/web/vendor/lightweight-charts.mjs"])
async def test_modules_have_a_type_that_browsers_run(browser, path):
    answer = await browser.get(path)
    assert answer.headers["content-type"].split(";")[0] in {
        "text/javascript",
        "application/javascript",
    }
    assert answer.headers["content-encoding"] == "gzip"


async def test_a_file_is_sent_again_only_if_it_changed(browser):
    first = await browser.get("/web/styles/base.css")
    again = await browser.get(
        "/web/styles/base.css", headers={"if-none-match": first.headers["etag"]}
    )
    assert again.status_code == 304
    assert first.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/web/../../../etc/passwd", "/web/%2e%2e/exchange/main.py"])
async def test_nothing_outside_the_page_s_folder_is_served(browser, path):
    assert (await browser.get(path)).status_code == 404


async def test_the_page_learns_where_the_order_api_is(browser):
    assert (await browser.get("/web/config.json")).json() == {
        "orders_url": None,
        "orders_port": 8080,
    }


def test_the_policy_lets_the_page_speak_to_its_own_host_and_the_order_api_only():
    policy = security_headers("example.test", "https://orders.test/api")["content-security-policy"]
    connect = policy.split("connect-src ")[1].split(";")[0].split()
    assert connect == [
        "'self'", "http://example.test:*", "https://example.test:*", "ws://example.test:*",
        "wss://example.test:*", "https://orders.test", "wss://orders.test",
    ]  # fmt: skip
    assert "script-src 'self';" in policy


def test_a_forged_host_cannot_widen_the_policy():
    policy = security_headers("a; script-src *", "")["content-security-policy"]
    assert "connect-src 'self';" in policy
