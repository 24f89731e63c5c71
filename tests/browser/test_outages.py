# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the page does while parts of the product are away."""

import re
import signal

import pytest
from playwright.async_api import Route, expect

from testkit.processes import free_port

BACK_MS = 20_000
STALE_MS = 25_000

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]


async def test_an_api_restart_is_survived(watched, product):
    page = watched.page
    assert watched.problems == []
    await product.api.stop()
    await expect(page.locator("#health-button")).to_have_attribute("data-state", "down")
    await expect(page.locator("#banner")).to_contain_text("may be old")
    await expect(page.locator("#chart-stale")).to_contain_text("old")
    for part in ("#book-panel", "#trades-panel", "#symbols-panel", "#ticker"):
        await expect(page.locator(part)).to_have_class(re.compile("is-stale"))
    await page.keyboard.press("h")
    health = page.get_by_role("dialog", name="How every part is")
    await expect(health.get_by_text("Not known")).to_have_count(4)
    await page.keyboard.press("Escape")

    await product.api.start()
    await product.api.until_healthy()
    await expect(page.get_by_text("Live ·")).to_be_visible(timeout=BACK_MS)
    await expect(page.locator("#banner")).to_be_hidden()
    await expect(page.locator("#book-stale")).to_be_hidden()
    await expect(page.locator(".is-stale")).to_have_count(0)
    before = await page.locator("#legend").inner_text()
    await expect(page.locator("#legend")).not_to_have_text(before, use_inner_text=True)
    unexpected = [text for text in watched.problems if "ERR_CONNECTION_REFUSED" not in text]
    assert unexpected == [], "nothing but the connections that were refused"


async def test_a_feed_that_stopped_is_shown_as_old(page, product):
    product.collector.process.send_signal(signal.SIGSTOP)
    await expect(page.locator("#book-stale")).to_be_visible(timeout=STALE_MS)
    await expect(page.locator("#chart-stale")).to_be_visible(timeout=STALE_MS)
    await expect(page.locator("#health-button")).to_have_attribute("data-state", "stale")
    product.collector.process.send_signal(signal.SIGCONT)
    await expect(page.locator("#book-stale")).to_be_hidden(timeout=STALE_MS)
    await expect(page.get_by_text("Live ·")).to_be_visible(timeout=STALE_MS)


async def test_without_an_order_system_the_rest_of_the_page_works(watched, product):
    page = watched.page
    await page.goto(f"{product.api.url}/?symbol=BTCUSDT&orders={free_port()}")
    await expect(page.locator("#orders")).to_contain_text("does not answer")
    await expect(page.locator("#orders-stale")).to_have_text("not reachable")
    await expect(page.get_by_text("Live ·")).to_be_visible()
    await expect(page.locator(".trade").first).to_be_visible()
    unexpected = [text for text in watched.problems if "ERR_CONNECTION_REFUSED" not in text]
    assert unexpected == []


async def test_a_page_that_could_not_load_one_of_its_files_loads_again_by_itself(watched, product):
    """As while a replica starts: a module that is missing would leave a dead page."""
    page = watched.page
    refused: list[str] = []

    async def refuse_once(route: Route) -> None:
        if refused:
            await route.continue_()
        else:
            refused.append(route.request.url)
            await route.fulfill(status=502, body="Bad Gateway")

    await page.route("**/web/src/backoff.js", refuse_once)
    await page.reload()
    await expect(page.get_by_text("Live ·")).to_be_visible(timeout=BACK_MS)
    await expect(page.locator("#price")).to_have_text(re.compile(r"\d"))
    assert len(refused) == 1
    assert all("502" in text for text in watched.problems), watched.problems
