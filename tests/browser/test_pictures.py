# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The pictures of the README: ``UPDATE_PICTURES=1`` renews them in docs/pictures."""

import os
from pathlib import Path

import pytest
from playwright.async_api import expect

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
SIZES = {
    "dark": {"width": 1440, "height": 900},
    "light": {"width": 1440, "height": 900},
    "phone": {"width": 390, "height": 844},
}

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]


@pytest.mark.parametrize("name", SIZES)
async def test_a_picture_of_the_page_can_be_taken(page, product, tmp_path, name):
    for number in range(6):
        user = product.chain.users[number % 3]
        await product.chain.create(user=user, amount_in=(number + 1) * 10**17)
    await page.set_viewport_size(SIZES[name])
    await page.emulate_media(color_scheme="light" if name == "light" else "dark")
    if name == "light":
        await page.locator("#symbol-list li", has_text="ETHUSDT").click()
        await page.get_by_role("radio", name="15m").check()
    await expect(page.locator("html")).to_have_attribute(
        "data-theme", "light" if name == "light" else "dark"
    )
    if name != "phone":
        await expect(page.locator("#orders tbody tr").nth(5)).to_be_visible()
    await expect(page.locator("#chart-note")).to_be_hidden()
    folder = PICTURES if os.environ.get("UPDATE_PICTURES") else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    picture = await page.screenshot(path=folder / f"page-{name}.png")
    assert len(picture) > 30_000, "a picture of this size has something on it"
