# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""News that was missed: a follower never keeps an order that is gone or another one by now."""

import asyncio
import contextlib
import os
import random
import time

import aiohttp
import msgspec
import pytest
from chainkit.history import act
from chainkit.rig import FAST, open_rig
from chainkit.services import environment, get, running

from linkora.channels import ORDERS_ALL
from linkora.database import open_pool
from linkora.errors import TransientError
from linkora.hub import Hub
from linkora.messages import Position
from linkora.pubsub import open_redis
from localchain.node import free_port
from orders import feed as feeds
from orders import queries
from orders.feed import Feed
from orders.lifecycle import Order
from orders.messages import OrderMessage, encode_order_message
from orders.openings import SharedReads
from orders.outcomes import UPHEAVAL
from orders.queries import Queries
from orders.rows import ETH
from orders.subscriptions import OPENING_LIMIT, OrderChannels, Subscription
from orders.told import HELD_LIMIT, Told
from orders.topics import OrderTopic
from orders.views import order_view

SEED = int(os.environ.get("GAPS_SEED", "20261122"))
STATUSES = (None, "PENDING", "EXECUTED", "CANCELLED")


class Client:
    """Does what the protocol says: a message replaces an order, or takes it away."""

    def __init__(self, topic):
        self.topic = topic
        self.orders = {}
        self.waiting = None
        self.has_been_closed = False

    def offer(self, frame, _):
        message = msgspec.json.decode(frame.payload)
        if self.waiting is not None:
            self.waiting.append(frame)
            return
        order = message["order"]
        self.orders.pop(order["id"], None)
        is_of_topic = self.topic.status in {None, order["status"]}
        if not message["is_removed"] and is_of_topic:
            self.orders[order["id"]] = order


class World:
    """A chain, its tables, a process of the API and its clients, with a channel that loses."""

    def __init__(self, rig, database_pool):
        self.rig = rig
        self.hub = Hub()
        self.told = Told(self.hub)
        self.queries = Queries(database_pool)
        self.clients = []
        self.feed = Feed(None, self.queries, self.hub, self.told, print, self.close_all)
        self.channels = OrderChannels(self.queries, self.told)
        self.seq = 0
        self.lost = 0

    async def join(self, topic):
        client = Client(topic)
        client.waiting = []
        self.hub.join(topic, client)
        subscription = Subscription(topic=topic, channel={})
        first = await self.channels.opening(subscription)
        kept, client.waiting = client.waiting, None
        for frame in [*first, *kept]:
            client.offer(frame, None)
        self.clients.append(client)
        return client

    def close_all(self):
        for client in self.clients:
            client.has_been_closed = True
            self.hub.leave(client.topic, client)
        self.clients = []

    async def look(self, *, is_lost):
        """Let the scanner commit, and its news reach the feed or not."""
        self.rig.published.clear()
        await self.rig.settle()
        for change in self.rig.published:
            await self.publish(change, is_lost=is_lost)

    async def publish(self, change, *, is_lost=False):
        self.seq += 1
        self.lost += is_lost
        if not is_lost:
            tokens = self.rig.reader.known_tokens
            view = None if change.order is None else order_view(change.order, tokens)
            await self.feed._take(OrderMessage(view, change.is_removed, self.seq, 1))

    async def expected(self, topic):
        subscription = Subscription(topic=topic, channel={})
        frames = await OrderChannels(self.queries, Told(Hub())).opening(subscription)
        orders = [msgspec.json.decode(frame.payload)["order"] for frame in frames]
        return {order["id"]: order for order in orders}


@pytest.fixture
async def world(chain, database):
    async with (
        open_pool(database, name="gaps", server_settings=FAST) as pool,
        open_rig(chain.rpc_url, chain.address, pool) as rig,
    ):
        yield World(rig, pool)


@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
async def test_after_any_gap_each_follower_holds_what_a_new_one_is_told(seed, chain, world):
    rng = random.Random(seed)
    topics = [OrderTopic(user, status) for user in (None, *chain.users) for status in STATUSES]
    for _ in range(14):
        kind = rng.choice(("act", "act", "reorg", "join"))
        if kind == "act":
            await act(chain, rng)
        elif kind == "reorg":
            await chain.reorg(rng.randint(1, min(6, await chain.head() - 2)))
        for _ in range(rng.randint(1, 3)):
            await world.join(rng.choice(topics))
        await world.look(is_lost=rng.random() < 0.5)
    await world.publish(UPHEAVAL)
    assert world.lost
    for client in world.clients:
        assert client.orders == await world.expected(client.topic), f"GAPS_SEED={seed}"


async def test_an_order_that_a_reorg_took_away_during_a_gap_is_told_as_removed(chain, world):
    await chain.create()
    await chain.mine(2)
    await chain.create()
    await world.look(is_lost=False)
    client = await world.join(OrderTopic(None, "PENDING"))
    assert set(client.orders) == {1, 2}
    await chain.reorg(1)
    await world.look(is_lost=True)
    assert set(client.orders) == {1, 2}
    await chain.create(amount_in=5)  # another order of the same id
    await chain.create()
    await world.look(is_lost=False)
    assert client.orders == await world.expected(client.topic)
    await chain.reorg(2)
    await world.look(is_lost=True)
    await world.publish(UPHEAVAL)
    assert set(client.orders) == {1}


async def test_an_execution_that_a_reorg_took_back_reaches_whoever_began_with_it(chain, world):
    """Also where this process has never told a change of that order."""
    first = await chain.create()
    await chain.mine(2)
    await chain.execute(first)
    await world.look(is_lost=True)
    client = await world.join(OrderTopic(None, "EXECUTED"))
    assert set(client.orders) == {first}
    await chain.reorg(1)
    await world.look(is_lost=False)
    assert client.orders == {}


async def test_a_state_that_only_one_follower_holds_is_taken_back(chain, world):
    """A newcomer in the gap hears the present; who was there before must hear it, too."""
    first = await chain.create()
    await world.look(is_lost=False)
    early = await world.join(OrderTopic(None, None))
    await chain.modify(first, 7, 8)
    await world.look(is_lost=True)
    late = await world.join(OrderTopic(None, None))
    assert early.orders != late.orders
    for number in range(3):
        await chain.create(amount_in=number + 1)
    await world.look(is_lost=False)
    assert early.orders == late.orders == await world.expected(early.topic)


async def test_what_is_read_before_a_gap_ends_is_not_told_after_it(chain, world):
    await chain.create()
    await world.look(is_lost=False)
    await world.join(OrderTopic(None, "CANCELLED"))  # somebody is there when the gap ends
    read = world.queries.orders
    has_begun = asyncio.Event()
    goes_on = asyncio.Event()

    async def read_slowly(*arguments):
        found = await read(*arguments)
        has_begun.set()
        await goes_on.wait()
        return found

    world.queries.orders = read_slowly
    joining = asyncio.create_task(world.join(OrderTopic(None, "PENDING")))
    await has_begun.wait()
    await chain.reorg(1)
    await world.look(is_lost=True)
    await world.publish(UPHEAVAL)
    goes_on.set()
    client = await joining
    assert client.orders == {}


async def test_followers_begin_anew_where_more_was_missed_than_can_be_told(
    chain, world, monkeypatch
):
    monkeypatch.setattr(world.told, "_limit", 3)
    clients = [await world.join(OrderTopic(None, None))]
    for _ in range(4):
        await chain.create()
    await world.look(is_lost=False)
    assert not clients[0].has_been_closed
    await world.publish(UPHEAVAL)
    assert clients[0].has_been_closed
    again = await world.join(OrderTopic(None, None))
    monkeypatch.setattr(feeds, "REREAD_LIMIT", 2)
    for _ in range(3):
        await world.publish(UPHEAVAL, is_lost=True)
    await world.publish(UPHEAVAL)
    assert again.has_been_closed


@pytest.mark.parametrize("is_too_much", [False, True])
async def test_missed_orders_are_told_again_however_many_events_each_of_them_has(
    is_too_much, chain, world, monkeypatch
):
    monkeypatch.setattr(feeds, "REREAD_LIMIT", 4)
    monkeypatch.setattr(queries, "EVENTS_PER_ORDER", 1 if is_too_much else 10)
    client = await world.join(OrderTopic(None, None))
    await chain.create()
    await world.look(is_lost=False)
    for _ in range(4):
        created = await chain.create()
        for price in (5, 6, 7):
            await chain.modify(created, price, 8)
    await world.look(is_lost=True)
    assert world.lost == 4
    await chain.create()
    await world.look(is_lost=False)
    assert client.has_been_closed == is_too_much
    assert is_too_much or client.orders == await world.expected(client.topic)
    assert is_too_much or len(client.orders) == 6


async def test_what_newcomers_are_told_is_remembered_within_bounds_and_in_small_portions(world):
    """300 openings of 500 orders each cost 189 MB, and then a second to forget."""
    world.hub.join(OrderTopic(None, None), Client(OrderTopic(None, None)))
    longest_s = 0.0
    for opening in range(300):
        views = [(opening * OPENING_LIMIT + n, view_of(n)) for n in range(OPENING_LIMIT)]
        begun_s = time.process_time()
        world.told.add(views)
        longest_s = max(longest_s, time.process_time() - begun_s)
        assert len(world.told) <= HELD_LIMIT
    assert longest_s < 0.3
    assert not world.told.is_complete
    assert world.told.ids()[-1] == views[-1][0]
    world.told.clear()
    world.told._limit = 100
    for amount in range(110):  # two orders in more states than are remembered
        world.told.add([(amount % 2, view_of(amount))])
    assert len(world.told.states(0)) + len(world.told.states(1)) <= 100


def view_of(number):
    """Return an encoded order; its amount is ``number``."""
    order = Order(
        1, ETH, ETH, ETH, number, 2, 3, 0, True, True, "PENDING", 1, 0, "0x" + "11" * 32, 5, 5
    )  # fmt: skip
    return msgspec.json.encode(order_view(order, {}))


async def test_orders_that_nobody_follows_are_forgotten_without_harm(chain, world, monkeypatch):
    monkeypatch.setattr(world.told, "_limit", 3)
    stranger = await world.join(OrderTopic(chain.users[1], None))
    leaver = await world.join(OrderTopic(chain.users[0], None))
    for _ in range(3):
        await chain.create()
    await world.look(is_lost=False)
    world.hub.leave(leaver.topic, leaver)
    for _ in range(2):
        await chain.create(user=chain.users[1])
    await world.look(is_lost=False)
    await world.publish(UPHEAVAL)
    assert not stranger.has_been_closed
    assert set(stranger.orders) == {4, 5}


async def test_a_reset_and_a_new_leader_make_every_reader_look_again(chain, world, pool):
    await chain.create()
    await world.look(is_lost=False)
    await pool.execute("UPDATE system_state SET status = 'RESET'")
    world.rig.published.clear()
    await world.rig.scanner.step()
    assert world.rig.published == [UPHEAVAL]
    world.rig.scanner.take_over()
    assert world.rig.published == [UPHEAVAL] * 2


class Reading:
    """A read that can be held up, and counts."""

    def __init__(self):
        self.count = 0
        self.goes_on = asyncio.Event()
        self.failure = None

    async def __call__(self):
        self.count += 1
        number = self.count
        await self.goes_on.wait()
        if self.failure:
            raise self.failure
        return number


async def test_a_thousand_who_ask_at_once_cost_two_reads_and_none_gets_one_begun_before():
    reads, read = SharedReads(), Reading()
    first = asyncio.create_task(reads.get("topic", read))
    await asyncio.sleep(0)
    later = [asyncio.create_task(reads.get("topic", read)) for _ in range(1000)]
    other = asyncio.create_task(reads.get("another", read))
    await asyncio.sleep(0)
    read.goes_on.set()
    assert await first == 1
    assert set(await asyncio.gather(*later)) == {3}
    assert await other == 2
    assert read.count == 3
    assert not reads._reads
    assert await reads.get("topic", read) == 4  # nothing is kept


async def test_a_failed_read_fails_for_all_who_share_it_and_a_cancelled_one_for_nobody_else():
    reads, read = SharedReads(), Reading()
    first = asyncio.create_task(reads.get("topic", read))
    await asyncio.sleep(0)
    later = [asyncio.create_task(reads.get("topic", read)) for _ in range(100)]
    await asyncio.sleep(0)
    first.cancel()
    read.failure = TransientError("away")
    read.goes_on.set()
    answers = await asyncio.gather(first, *later, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(answer is read.failure for answer in answers[1:])
    assert read.count == 2


async def test_the_socket_is_closed_with_its_own_code_where_too_much_was_missed(
    database, redis_settings
):
    port = free_port()
    variables = environment(database, redis_settings, ORDER_API_PORT=str(port))
    async with running("api", variables), open_redis(redis_settings) as redis:
        await get(f"http://127.0.0.1:{port}/health")
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{port}/ws?type=none") as socket,
            asyncio.timeout(30),
        ):
            # The last number is heard only once the process listens.
            while not socket.closed:
                for seq in (1, 2, 5000):
                    message = encode_order_message(None, Position(seq, 1), is_removed=False)
                    await redis.publish(ORDERS_ALL, message)
                with contextlib.suppress(TimeoutError):
                    await socket.receive(0.5)
    assert socket.close_code == 4409
