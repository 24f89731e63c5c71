# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Checks of the order API: every endpoint, and each against the others."""

from typing import Any

from connection import socket_url

from checks.probe import Check, NothingToCheckError, Probe, expect
from checks.stream import connected, receive

STATUSES = ("pending", "executed", "cancelled")
NOBODY = "0x" + "00" * 19 + "01"
NO_ORDER = 10**15


class OrderChecks:
    """The checks of the order API."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def checks(self) -> list[Check]:
        """Return them in the order of the table."""
        return [
            Check("orders: health", self.health),
            Check("orders: lists by status add up to the statistics", self.lists),
            Check("orders: pages do not overlap", self.pages),
            Check("orders: one order, its events", self.order),
            Check("orders: a user's orders and positions", self.user),
            Check("orders: errors", self.errors),
            Check("orders: socket tells the present orders", self.socket),
            Check("orders: metrics and documents", self.documents),
        ]

    async def _any(self) -> dict[str, Any]:
        orders = (await self._probe.read("/orders/all", limit=1))["orders"]
        if not orders:
            raise NothingToCheckError("there are no orders yet")
        return dict(orders[0])

    async def health(self) -> str:
        """Every component works."""
        body = await self._probe.read("/health")
        expect(body["overall_status"] == "healthy", f"{body}")
        components = body["components"]
        expect(components["database"] == "HEALTHY", f"{components}")
        return f"event processor {components['event_processor']}"

    async def lists(self) -> str:
        """Each list has its status, and as many as the statistics say."""
        for _ in range(5):  # orders change between two requests
            before = (await self._probe.read("/statistics"))["statistics"]
            totals = {}
            for status in STATUSES:
                page = await self._probe.read(f"/orders/{status}", limit=50)
                wrong = [o["id"] for o in page["orders"] if o["status"] != status.upper()]
                expect(not wrong, f"{status}: {wrong} have another status")
                totals[status] = page["total"]
            everything = (await self._probe.read("/orders/all", limit=1))["total"]
            if before == (await self._probe.read("/statistics"))["statistics"]:
                break
        counted = {status: before[status.upper()]["total"] for status in STATUSES}
        expect(totals == counted, f"lists {totals}, statistics {counted}")
        expect(everything == sum(totals.values()), f"all {everything}, by status {totals}")
        return ", ".join(f"{count} {status}" for status, count in totals.items())

    async def pages(self) -> str:
        """Following the cursor gives each order once."""
        await self._any()
        ids: list[int] = []
        cursor = ""
        while len(ids) < 60:
            page = await self._probe.read("/orders/all", limit=7, cursor=cursor)
            ids += [order["id"] for order in page["orders"]]
            cursor = page["next_cursor"]
            if not page["has_more"] or not cursor:
                break
        expect(len(ids) == len(set(ids)), "an order came twice")
        return f"{len(ids)} orders in pages of 7"

    async def order(self) -> str:
        """An order is the same alone and in the list; its history begins with its creation."""
        listed = await self._any()
        path = f"/orders/{listed['id']}"
        alone = (await self._probe.read(path))["order"]
        wrong = [name for name in listed if name != "updated_at" and listed[name] != alone[name]]
        expect(not wrong or alone["updated_at"] != listed["updated_at"], f"{wrong} differ")
        history = await self._probe.read(f"{path}/events")
        events = history["events"]
        expect(history["total"] >= len(events) > 0, "no events")
        expect(events[-1]["new_status"] in {alone["status"], None}, "another status at the end")
        expect(events[0]["tx_hash"] == alone["tx_hash"], "it does not begin with its creation")
        return f"#{listed['id']}: {len(events)} events"

    async def user(self) -> str:
        """A user's lists are that user's, in whatever case the address is written."""
        address = (await self._any())["user_address"]
        shouted = "0x" + address[2:].upper()
        page = await self._probe.read(f"/users/{shouted}/orders", limit=20)
        others = {order["user_address"] for order in page["orders"]} - {address}
        expect(not others, f"orders of {others}")
        positions = await self._probe.read(f"/users/{address}/positions")
        expect(positions["total"] >= len(positions["positions"]), "fewer than listed")
        return f"{page['total']} orders, {positions['total']} positions"

    async def errors(self) -> str:
        """Wrong parameters are refused with what is allowed."""
        refused = self._probe.refused
        await refused("/orders/x", 400, "Invalid order_id format. Must be a number.")
        await refused(f"/orders/{NO_ORDER}", 404, f"Order {NO_ORDER} not found")
        await refused("/orders/all", 400, "Invalid status. Use:", status="lost")
        await refused("/orders/all", 400, "limit must be between 1 and 1000", limit=1001)
        await refused("/users/0x12/orders", 400, "Invalid address")
        page = await self._probe.read(f"/users/{NOBODY}/orders")
        expect(page["total"] == 0, "nobody has orders")
        return "5 refusals"

    async def socket(self) -> str:
        """The first message is an order as REST tells it."""
        await self._any()
        url = socket_url(str(self._probe.client.base_url), "/ws")
        async with connected(url) as socket:
            message = await receive(socket, lambda m: m.get("type") == "order")
        known = (await self._probe.read(f"/orders/{message['order']['id']}"))["order"]
        expect(known["tx_hash"] == message["order"]["tx_hash"], "REST has another order")
        return f"order #{known['id']}"

    async def documents(self) -> str:
        """The figures are there, and every documented path was asked for above."""
        text = (await self._probe.ask("/metrics")).text
        expect("# TYPE" in text, "not Prometheus' format")
        await self._probe.ask("/docs")
        return await self._probe.documented()
