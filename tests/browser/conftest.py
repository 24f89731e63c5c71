# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""A running product and a browser, once for all tests of this folder; a page for each."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, Page, async_playwright

from linkora.pubsub import open_redis
from linkora.settings import RedisSettings
from testkit.browser import FLAGS, chromium
from testkit.databases import Databases
from testkit.product import Product, running_product

START_MS = 15_000
DESK = {"width": 1440, "height": 900}
ONE_LOOP = {"scope": "package", "loop_scope": "package"}


@pytest_asyncio.fixture(**ONE_LOOP)
async def product(
    databases: Databases, redis_server: RedisSettings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Product]:
    """The running product, with a chain."""
    folder = tmp_path_factory.mktemp("product")
    async with open_redis(redis_server) as redis:
        await redis.flushdb()
    with databases.migrated() as database:
        async with running_product(database, redis_server, folder, has_chain=True) as running:
            yield running


@pytest_asyncio.fixture(**ONE_LOOP)
async def browser() -> AsyncIterator[Browser]:
    """One Chromium."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield running
        await running.close()


class Watched:
    """A page and what its console said.

    Attributes:
        page: The page.
        problems: Errors and warnings of its console, and exceptions nobody caught.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on(
            "console",
            lambda said: said.type in {"error", "warning"} and self.problems.append(said.text),
        )
        page.on("pageerror", lambda error: self.problems.append(str(error)))


@pytest_asyncio.fixture(loop_scope="package")
async def watched(browser: Browser, product: Product) -> AsyncIterator[Watched]:
    """A desk's window with the page in it, once its first candles are drawn."""
    context = await browser.new_context(viewport=DESK, color_scheme="dark")
    watched = Watched(await context.new_page())
    await watched.page.goto(f"{product.api.url}/?symbol=BTCUSDT&timeframe=1")
    try:
        await watched.page.get_by_text("Live ·").wait_for(timeout=START_MS)
        await watched.page.locator("#legend b").first.wait_for(timeout=START_MS)
    except Error as error:
        shown = await watched.page.inner_text("body")
        raise AssertionError(
            f"{error}\n{shown}\n{watched.problems}\n{product.api.tail()}"
        ) from None
    yield watched
    await context.close()


@pytest_asyncio.fixture(loop_scope="package")
async def page(watched: Watched) -> AsyncIterator[Page]:
    """The page of ``watched``; nothing may have gone wrong on it by the end."""
    yield watched.page
    assert watched.problems == []
