# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The orders panel against the order system and a chain of its own."""

import re

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]


async def test_an_order_placed_on_the_chain_appears_and_its_life_can_be_followed(page, product):
    user = product.chain.users[0]
    order_id = await product.chain.create(user=user, amount_in=25 * 10**17)
    row = page.locator(f"tr[data-id='{order_id}']")
    await expect(row).to_be_visible()
    await expect(row).to_contain_text("2.5")
    await expect(row.locator(".tag")).to_have_text("PENDING")

    await product.chain.execute(order_id)
    await expect(row).to_be_hidden()
    await page.get_by_role("radio", name="Executed").check()
    await expect(row.locator(".tag")).to_have_text("EXECUTED")

    await row.get_by_title("History of this order").click()
    dialog = page.get_by_role("dialog", name=f"Order #{order_id}")
    await expect(dialog.locator(".history li")).to_have_count(2)
    await expect(dialog).to_contain_text(user)
    await page.keyboard.press("Escape")


async def test_the_orders_of_one_user_can_be_shown(page, product):
    first, second = product.chain.users[:2]
    await product.chain.create(user=first)
    own = await product.chain.create(user=second)
    await page.get_by_role("radio", name="All").check()
    await expect(page.locator(f"tr[data-id='{own}']")).to_be_visible()
    await page.get_by_label("User address").fill(second.upper().replace("0X", "0x"))
    await page.keyboard.press("Enter")
    await expect(page.locator(f"tr[data-id='{own}']")).to_be_visible()
    owners = page.locator("#orders tbody td:nth-child(8)")
    await expect(owners.first).to_have_text(re.compile(f"^{second[:6]}", re.IGNORECASE))
    assert len(set(await owners.all_inner_texts())) == 1


async def test_an_address_that_cannot_be_one_is_refused_by_the_page(page):
    await page.get_by_label("User address").fill("0x12")
    await page.keyboard.press("Enter")
    assert not await page.get_by_label("User address").evaluate("field => field.checkValidity()")
