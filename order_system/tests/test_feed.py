# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""News of orders on their way through Redis, while something is away."""

import asyncio
import contextlib

import msgspec
import pytest

from linkora.channels import ORDERS_ALL
from linkora.errors import CorruptMessage, TransientError
from linkora.hub import Hub
from linkora.messages import Position
from linkora.pubsub import open_redis
from orders.feed import Feed
from orders.lifecycle import Order
from orders.messages import decode_order_message, encode_order_message
from orders.news import BATCH, QUEUE_LIMIT, News
from orders.outcomes import Change
from orders.queries import Queries
from orders.rows import ETH
from orders.told import Told
from orders.topics import OrderTopic
from orders.views import order_view

WAIT_S = 10.0


def order(number):
    return Order(
        number, ETH, ETH, ETH, 1, 2, 3, 0, True, True, "PENDING", number, 0, "0x" + "11" * 32, 5, 5
    )  # fmt: skip


@contextlib.asynccontextmanager
async def under_way(work):
    task = asyncio.create_task(work)
    try:
        async with asyncio.timeout(WAIT_S):
            yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Channel:
    """Takes the place of a publisher whose Redis is away for its first ``failures`` batches."""

    def __init__(self, failures):
        self.failures = failures
        self.seq = 0
        self.told = []

    def skip(self, _):
        self.seq += 1

    async def publish(self, messages):
        payloads = []
        for _, encode in messages:
            self.seq += 1
            payloads.append(decode_order_message(encode(Position(self.seq, 1))))
        if self.failures:
            self.failures -= 1
            raise TransientError("away", 0.0)
        self.told += payloads


async def test_what_redis_did_not_take_is_told_later_in_its_order_behind_a_hole():
    channel = Channel(failures=2)
    states = []
    news = News(channel, dict, states.append)
    news.tell([Change(order(number)) for number in range(1, 4)])
    async with under_way(news.run()):
        while len(channel.told) < 3:  # noqa: ASYNC110 - nobody calls
            await asyncio.sleep(0.01)
    assert [message.order.id for message in channel.told] == [1, 2, 3]
    assert [message.seq for message in channel.told] == [7, 8, 9]
    assert [state is None for state in states] == [False, False, True]


@pytest.mark.parametrize("failures", [0, 1, 3])
async def test_the_oldest_news_make_room_and_leave_a_hole(failures):
    channel = Channel(failures)
    news = News(channel, dict, lambda _: None)
    news.tell([Change(order(number)) for number in range(QUEUE_LIMIT + BATCH)])
    async with under_way(news.run()):
        while len(channel.told) < QUEUE_LIMIT:  # noqa: ASYNC110 - nobody calls
            await asyncio.sleep(0.01)
    assert [message.order.id for message in channel.told] == list(range(BATCH, QUEUE_LIMIT + BATCH))
    assert channel.told[0].seq == BATCH * (failures + 1) + 1, "a hole as great as what was dropped"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b'{"order":{"tx_hash":"\xff"}}',
        b'{"a":' + b"[" * 60_000,
        b'{"a":' * 4000,
        b'{"seq":1}',
    ],
)
def test_what_is_no_order_message_is_refused_whatever_it_is(payload):
    with pytest.raises(CorruptMessage):
        decode_order_message(payload)


class Listener:
    def __init__(self):
        self.heard = asyncio.Queue()

    def offer(self, frame, key):
        self.heard.put_nowait(msgspec.json.decode(frame.payload)["order"]["id"])


class Store:
    """Takes the place of a database that is away when it is first asked."""

    def __init__(self):
        self.failures = 2
        self.reads = 0

    async def changed_lately(self, most):
        self.reads += 1
        if self.failures:
            self.failures -= 1
            raise TransientError("away")
        return [order(7)], {}

    async def orders_by_id(self, ids):
        return [order(number) for number in ids], {}


@pytest.mark.parametrize("user", [None, ETH])
async def test_missed_orders_are_told_as_soon_as_the_database_can_be_read(user, redis_settings):
    hub, listener = Hub(), Listener()
    hub.join(OrderTopic(user, None), listener)
    async with open_redis(redis_settings) as redis:
        feed = Feed(redis, Store(), hub, Told(hub), lambda _: None, lambda: None)
        async with under_way(feed.run()):
            assert await listener.heard.get() == 7


async def test_what_was_read_at_a_reconnection_is_not_read_again_at_the_first_message(
    redis_settings,
):
    hub, listener, store = Hub(), Listener(), Store()
    store.failures = 0
    hub.join(OrderTopic(None, None), listener)

    async with open_redis(redis_settings) as redis, open_redis(redis_settings) as other:
        feed = Feed(redis, store, hub, Told(hub), lambda _: None, lambda: None)

        async def tell(number, seq):
            view = order_view(order(number), {})
            await other.publish(
                ORDERS_ALL, encode_order_message(view, Position(seq, 1), is_removed=False)
            )
            while await listener.heard.get() != number:
                pass

        async with under_way(feed.run()):
            assert await listener.heard.get() == 7
            await tell(1, seq=1)
            assert store.reads == 1
            await other.client_kill_filter(_type="pubsub")
            assert await listener.heard.get() == 7
            await tell(2, seq=5)
            await tell(3, seq=6)
            assert store.reads == 2
            await tell(4, seq=8)
            assert await listener.heard.get() == 7
            assert store.reads == 3


async def test_orders_that_changed_last_are_read_again_however_old_they_are(chain, rig, pool):
    for _ in range(4):
        await chain.create()
    await chain.cancel(2**256 - 1, user=ETH)  # an orphan: no order has that id
    await chain.execute(1)
    await rig.settle()
    orders, tokens = await Queries(pool).changed_lately(1)
    assert [(found.id, found.status) for found in orders] == [(1, "EXECUTED")]
    assert set(tokens) == {orders[0].token_in, orders[0].token_out}
    newest, _ = await Queries(pool).changed_lately(3)
    assert [found.id for found in newest] == [1, 3, 4]
