# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Lists: filters, stable pages, counts of the same moment."""

import httpx
import pytest

from linkora.health import Health
from linkora.hub import Hub
from linkora.metrics import new_registry
from linkora.settings import WebSocketSettings
from linkora.sockets import Sockets
from orders.app import Deps, create_app
from orders.condition import Bounds
from orders.queries import Queries
from orders.standing import Standing
from orders.subscriptions import OrderChannels
from orders.told import Told


@pytest.fixture
async def api(chain, rig, pool):
    for number in range(7):
        await chain.create(user=chain.users[number % 2])
    await chain.execute(2)
    await chain.cancel(3)
    await rig.settle()
    registry = new_registry()
    queries = Queries(pool)
    bounds = Bounds(has_chain=True, lag_blocks=50, silence_s=60, dead_letters=0)
    hub = Hub()
    deps = Deps(
        queries, Standing(queries, bounds, Health(), lambda: 0), registry, hub,
        Sockets(WebSocketSettings(), registry), OrderChannels(queries, Told(hub)), [],
    )  # fmt: skip
    transport = httpx.ASGITransport(app=create_app(deps))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


async def ids(api, path):
    answer = await api.get(path)
    assert answer.status_code == 200, answer.text
    return [order["id"] for order in answer.json()["orders"]]


async def test_lists_are_filtered_and_newest_first(api, chain):
    assert await ids(api, "/orders/all") == [7, 6, 5, 4, 3, 2, 1]
    assert await ids(api, "/orders/pending?order=asc") == [1, 4, 5, 6, 7]
    assert await ids(api, "/orders/executed") == [2]
    assert await ids(api, "/orders/all?status=Cancelled") == [3]
    user = chain.users[1].upper().replace("0X", "0x")
    assert await ids(api, f"/users/{user}/orders") == [6, 4, 2]
    assert await ids(api, f"/users/{user}/orders?status=executed") == [2]
    body = (await api.get(f"/users/{user}/orders?limit=2")).json()
    assert (body["total"], body["limit"], body["offset"], body["has_more"]) == (3, 2, 0, True)


async def test_a_cursor_goes_through_everything_once_although_orders_are_added(api, chain, rig):
    seen, cursor = [], ""
    while True:
        body = (await api.get(f"/orders/all?limit=3&cursor={cursor}")).json()
        seen += [order["id"] for order in body["orders"]]
        cursor = body["next_cursor"]
        if not body["has_more"] or not cursor:
            break
        await chain.create()
        await rig.settle()
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_a_cursors_last_page_says_so_even_if_it_is_full(api):
    body = (await api.get("/orders/pending?limit=3")).json()
    assert ([order["id"] for order in body["orders"]], body["has_more"]) == ([7, 6, 5], True)
    last = (await api.get(f"/orders/pending?limit=2&cursor={body['next_cursor']}")).json()
    assert ([order["id"] for order in last["orders"]], last["has_more"]) == ([4, 1], False)


async def test_offset_pages_end_where_the_list_ends(api):
    body = (await api.get("/orders/all?limit=5&offset=5")).json()
    assert [order["id"] for order in body["orders"]] == [2, 1]
    assert body["has_more"] is False
    body = (await api.get("/orders/all?limit=5&offset=50")).json()
    assert (body["orders"], body["total"], body["has_more"]) == ([], 7, False)


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/orders/99", 404, "Order 99 not found"),
        ("/orders/99/events", 404, "Order 99 not found"),
        ("/orders/9223372036854775808", 404, "Order 9223372036854775808 not found"),
        ("/orders/x", 400, "Invalid order_id format. Must be a number."),
        ("/users/0x12/orders", 400, "Invalid address. Must be 0x and 40 hexadecimal digits."),
        ("/users/0x12/positions", 400, "Invalid address. Must be 0x and 40 hexadecimal digits."),
        ("/orders/all?status=open", 400, "Invalid status. Use: pending, executed, cancelled"),
        ("/orders/all?limit=1001", 400, "limit must be between 1 and 1000"),
        ("/nothing", 404, "Not Found"),
    ],
)
async def test_refusals_name_what_is_wrong(api, path, status, error):
    answer = await api.get(path)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


async def test_statistics_count_by_status_and_day(api):
    body = (await api.get("/statistics")).json()
    assert body["statistics"] == {
        "PENDING": {"total": 5, "last_24h": 5},
        "EXECUTED": {"total": 1, "last_24h": 1},
        "CANCELLED": {"total": 1, "last_24h": 1},
    }


async def test_positions_answer_although_there_are_none(api, chain):
    body = (await api.get(f"/users/{chain.users[0]}/positions")).json()
    assert (body["positions"], body["total"], body["has_more"]) == ([], 0, False)


async def test_an_orphans_events_are_shown_without_an_order(api, chain, rig):
    await chain.modify(50, 3, 4, user="0x" + "00" * 20)
    await rig.settle()
    body = (await api.get("/orders/50/events")).json()
    assert [(e["event_type"], e["new_status"]) for e in body["events"]] == [("MODIFIED", None)]
    assert body["events"][0]["event_data"]["target_price_raw"] == "3"


async def test_health_is_503_with_dead_letters_and_says_why(api, pool):
    assert (await api.get("/health")).status_code == 200
    await pool.execute(
        "INSERT INTO dead_letters (source, reason, payload) VALUES ('order_events', 'x', '{}')"
    )
    answer = await api.get("/health")
    assert answer.status_code == 503
    assert answer.json()["components"]["problems"] == ["1 dead letters"]
