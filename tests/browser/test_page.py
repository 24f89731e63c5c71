# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The web page in a real browser, on the running product."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import aiohttp
import pytest
from playwright.async_api import Page, expect

from linkora.timeframes import TIMEFRAMES

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

# The server tells a running candle every five seconds; the next trade may take longer.
PATIENCE_MS = 20_000
# How many pixels of the chart have a colour that only candles have.
COLOURED_PIXELS = """colour => {
  const [r, g, b] = colour;
  return [...document.querySelectorAll('#chart canvas')].reduce((sum, canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4)
      sum += data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255;
    return sum;
  }, 0);
}"""
DARK_UP = [0x21, 0xB8, 0x8A]
LIGHT_UP = [0x0B, 0x7F, 0x5C]


async def column(page: Page, side: str, number: int) -> list[Decimal]:
    cells = page.locator(f".{side} .level:not([hidden]) > :nth-child({number})")
    return [Decimal(text.replace(",", "")) for text in await cells.all_inner_texts()]


async def legend_time(page: Page) -> datetime:
    text = await page.locator("#legend b").first.inner_text()
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


async def hover_left(page: Page) -> None:
    box = await page.locator("#chart").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 4, box["y"] + box["height"] / 2)


def seen_requests(page: Page, part: str) -> Callable[[], list[str]]:
    urls: list[str] = []
    page.on("request", lambda request: part in request.url and urls.append(request.url))
    return lambda: urls


async def test_the_chart_is_drawn_and_its_last_bar_moves(page):
    assert await page.evaluate(COLOURED_PIXELS, DARK_UP) > 200
    before = await page.locator("#legend").inner_text()
    await expect(page.locator("#legend")).not_to_have_text(before, timeout=PATIENCE_MS)
    shown = await page.locator("#price").inner_text()
    await expect(page.locator("#price")).not_to_have_text(shown, timeout=PATIENCE_MS)


async def test_the_price_shown_is_the_one_that_the_api_tells(page, product):
    async with aiohttp.ClientSession() as session:
        for _ in range(20):
            shown = (await page.locator("#price").inner_text()).replace(",", "")
            url = f"{product.api.url}/price?symbol=BTCUSDT&timeframe=1"
            async with session.get(url) as answer:
                told = (await answer.json())["current_price"]
            if Decimal(shown) == Decimal(told):
                return
            await page.wait_for_timeout(250)
    raise AssertionError(f"shown {shown}, told {told}")


async def test_every_timeframe_can_be_shown_and_its_last_bar_opens_on_its_grid(page):
    labels = await page.locator("#timeframes label").all()
    assert len(labels) == len(TIMEFRAMES) == 13
    frames = [*zip(labels, TIMEFRAMES.items(), strict=True)]
    for label, (name, frame) in [*frames[1:], frames[0]]:
        async with page.expect_response(
            lambda answer, name=name: (
                "/candles" in answer.url and f"timeframe={name}&" in answer.url
            )
        ):
            await label.click()
        await expect(page.locator("#chart-note")).to_be_hidden()
        opens_ms = int((await legend_time(page)).timestamp() * 1000)
        assert opens_ms == frame.open_ms(opens_ms), name
        assert f"timeframe={name}" in page.url


async def test_history_pages_in_as_one_scrolls_back(page):
    older = seen_requests(page, "end_date=")
    newest = await legend_time(page)
    await page.locator("#chart").focus()
    for pages in (1, 2):
        while len(older()) < pages:
            await page.keyboard.press("ArrowLeft")
        await expect(page.locator("#chart-note")).to_be_hidden()
    for _ in range(30):
        await page.keyboard.press("ArrowLeft")
    await hover_left(page)
    minutes_back = (newest - await legend_time(page)).total_seconds() / 60
    assert minutes_back > 1_500, "older than the first page of 600 candles and most of the second"
    await page.keyboard.press("End")
    await page.mouse.move(0, 0)
    assert (await legend_time(page)) >= newest


async def test_the_book_is_in_order_and_changes(page):
    asks, bids = await column(page, "asks", 1), await column(page, "bids", 1)
    assert len(asks) == len(bids) == 20
    assert asks == sorted(asks, reverse=True), "the best ask is at the bottom"
    assert bids == sorted(bids, reverse=True)
    assert asks[-1] > bids[0], "not crossed"
    totals = await column(page, "bids", 3)
    assert totals == sorted(totals), "depth adds up"
    before = await page.locator("#book").inner_text()
    await expect(page.locator("#book")).not_to_have_text(before, use_inner_text=True)


async def test_trades_arrive_newest_first(page):
    await expect(page.locator(".trade").first).to_be_visible()
    before = await page.locator("#trades").inner_text()
    await expect(page.locator("#trades")).not_to_have_text(before, use_inner_text=True)
    times = await page.locator(".trade > :nth-child(3)").all_inner_texts()
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", time) for time in times)
    assert times == sorted(times, reverse=True) or "23:59" in times[-1]


async def test_every_market_has_a_price_a_change_and_a_line(page):
    rows = page.locator("#symbol-list li")
    await expect(rows).to_have_count(3)
    for row in await rows.all():
        await expect(row.locator(".price")).to_have_text(re.compile(r"\d"))
        await expect(row.locator(".change")).to_have_text(re.compile("[▲▼]"))
        await expect(row.locator(".spark-line")).to_have_attribute("d", re.compile("L.*L"))


async def test_choosing_a_market_shows_it_everywhere(page):
    await page.locator("#symbol-list li", has_text="PEPEUSDT").click()
    await expect(page.locator("#ticker .name")).to_have_text("PEPEUSDT")
    await expect(page.locator("#price")).to_have_text(re.compile(r"^0\.0000\d{4}$"))
    await expect(page.locator(".bids .level > span").first).to_have_text(re.compile(r"^0\.0000"))
    await expect(page.locator("#legend")).to_contain_text("0.0000")
    assert "symbol=PEPEUSDT" in page.url


async def test_the_page_can_be_used_by_keyboard_alone(page):
    await page.keyboard.press("]")
    await expect(page.get_by_role("radio", name="3m", exact=True)).to_be_checked()
    await page.keyboard.press("[")
    await expect(page.get_by_role("radio", name="1m", exact=True)).to_be_checked()
    await page.keyboard.press("/")
    await page.keyboard.type("eth")
    await expect(page.locator("#symbol-list li:visible")).to_have_count(1)
    await page.keyboard.press("Enter")
    await expect(page.locator("#ticker .name")).to_have_text("ETHUSDT")
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("h")
    health = page.get_by_role("dialog", name="How every part is")
    for part in ("Live connection", "Database", "Redis", "Order API"):
        await expect(health).to_contain_text(part)
    await page.keyboard.press("Escape")
    await expect(health).to_be_hidden()


async def test_every_control_has_a_name_and_can_be_reached(page):
    nameless = await page.evaluate(
        """() => [...document.querySelectorAll('button, input, a, [role=option], [role=img]')]
        .filter(e => !(e.getAttribute('aria-label') || e.title || e.textContent.trim()
            || e.labels?.[0]?.textContent.trim()))
        .map(e => e.outerHTML)"""
    )
    assert nameless == []
    reached = set()
    for _ in range(30):
        await page.keyboard.press("Tab")
        reached.add(
            await page.evaluate("document.activeElement.id || document.activeElement.role || ''")
        )
    assert {"health-button", "theme-button", "symbol-search", "option", "chart"} <= reached


async def test_the_theme_changes_everything_and_is_remembered(page):
    await page.keyboard.press("t")
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")
    await page.wait_for_function(f"({COLOURED_PIXELS})({LIGHT_UP}) > 200")
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")
    await page.evaluate("localStorage.removeItem('theme')")


async def test_a_phone_shows_one_view_at_a_time_and_nothing_sticks_out(page):
    await page.set_viewport_size({"width": 390, "height": 844})
    views = page.get_by_role("navigation", name="Views").get_by_role("button")
    for button, panel in zip(
        await views.all(), ("symbols", "chart", "book", "trades", "orders"), strict=True
    ):
        await button.click()
        await expect(page.locator("main > section:visible")).to_have_count(1)
        await expect(page.locator(f"#{panel}-panel")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") == 390
