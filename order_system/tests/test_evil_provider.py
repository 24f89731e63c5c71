# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Whatever a node answers: a passing trouble of that node, never the end of the process."""

import asyncio
import contextlib
import json
import time
from types import SimpleNamespace

import aiohttp
import msgspec
import pytest
from aiohttp import web
from chainkit.rig import FAST, LIMITS, Rig, dump, forget, fresh_scan, open_rig
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from linkora.database import open_pool
from linkora.errors import CorruptMessage, RejectedError, TransientError
from orders.chain import faults, forms, pool, rpc
from orders.chain.forms import MAX_TIME_S
from orders.condition import Bounds, judge
from orders.params import OrderFilter, Page
from orders.queries import Queries
from orders.views import iso, order_view

EVIL = (
    None, True, -1, 1.5, 2**31, 2**63, 2**64, 2**300, "", " ", "0x", "0x0", "-0x5", "0x-5", "0x_1",
    "0x 1", "zz", "0xzz", "0x\x00", "\x00", "\ud800", "٣", "0x7fffffffffffffff",
    "0x8000000000000000", hex(MAX_TIME_S), hex(MAX_TIME_S + 1), "0x" + "f" * 64, "0x" + "F" * 64,
    "0x" + "0" * 64, "0x" + "-" + "1" * 63, "0x" + "f" * 65, "0x" + "f" * 768, "0x" + "e" * 512,
    "x" * 9999, "1" * 5000 + " blocks", [], {}, [[]], [None], {"number": "0x1"},
    {"code": -32005, "message": "limit \x00 exceeded \ud800 [0x5, 0x1]"},
    {"code": 2**70, "message": "block height is " + "9" * 5000 + " but requested was 1"},
)  # fmt: skip
FIELDS = (
    "timestamp", "number", "hash", "parentHash", "logsBloom", "blockNumber", "blockHash",
    "transactionHash", "logIndex", "topics", "data", "address", "blockTimestamp", "removed",
    "result", "error", "id",
)  # fmt: skip
METHODS = (
    "eth_chainId", "eth_getCode", "eth_call", "eth_getLogs", "eth_getBlockByNumber",
    "eth_getBlockByHash",
)  # fmt: skip
NO_TEXT = (b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\x00", b"\\")


class Evil(msgspec.Struct, frozen=True):
    """What is done to answers: where, from which request on, and for how many."""

    kind: str
    where: str | int
    value: object
    first: int
    count: int


evils = st.one_of(
    st.builds(Evil, st.just("field"), st.sampled_from(FIELDS), st.sampled_from(EVIL),
              st.integers(0, 8), st.just(99)),
    st.builds(Evil, st.just("method"), st.sampled_from(METHODS), st.sampled_from(EVIL),
              st.integers(0, 8), st.just(99)),
    st.builds(Evil, st.just("place"), st.integers(0, 2000), st.sampled_from(EVIL),
              st.integers(0, 12), st.integers(1, 3)),
    st.builds(Evil, st.just("missing"), st.sampled_from(FIELDS), st.none(),
              st.integers(0, 8), st.just(99)),
    st.builds(Evil, st.just("bytes"), st.integers(0, 4000), st.sampled_from(NO_TEXT),
              st.integers(0, 12), st.integers(1, 99)),
)  # fmt: skip


def spoil_bytes(text, evil):
    """Return an answer's bytes with some that belong to no text in it, in a string or not."""
    place = evil.where % len(text)
    return text[:place] + evil.value + text[place + 1 :]


def spoil(value, evil, methods):
    """Return decoded answers with ``evil`` done to them."""
    if evil.kind == "method":
        return [a | {"result": evil.value} if methods[a["id"]] == evil.where else a for a in value]
    if evil.kind == "place":
        return replace_at(value, [evil.where % max(1, count(value))], evil.value)
    return change_fields(value, evil)


def change_fields(value, evil):
    if isinstance(value, list):
        return [change_fields(item, evil) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {k: change_fields(v, evil) for k, v in value.items()}
    if evil.kind == "missing":
        changed.pop(evil.where, None)
    elif evil.where in changed or (evil.where == "error" and "result" in changed):
        changed[evil.where] = evil.value
    return changed


def children(value):
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def count(value):
    return 1 + sum(count(child) for child in children(value))


def replace_at(value, left, evil):
    """Replace the node whose number is ``left``, which is counted down on the way."""
    if left[0] == 0:
        left[0] -= 1
        return evil
    left[0] -= 1
    if isinstance(value, dict):
        return {k: replace_at(v, left, evil) for k, v in value.items()}
    return [replace_at(v, left, evil) for v in value] if isinstance(value, list) else value


class EvilNode(rpc.RpcNode):
    """Answers from memory what a real node has answered once, with an evil done to it."""

    def __init__(self, url, session, memory):
        super().__init__(url, session, 64 * 1024 * 1024)
        self.memory = memory
        self.evil = None
        self.requests = 0

    async def _post(self, body):
        calls = json.loads(body)
        keys = [json.dumps([call["method"], call["params"]]) for call in calls]
        if any(key not in self.memory for key in keys):
            for key, answer in zip(keys, json.loads(await super()._post(body)), strict=True):
                self.memory[key] = answer
        answers = [self.memory[key] | {"id": number} for number, key in enumerate(keys)]
        number, self.requests = self.requests, self.requests + 1
        is_evil = self.evil and self.evil.first <= number < self.evil.first + self.evil.count
        if is_evil and self.evil.kind == "bytes":
            return spoil_bytes(json.dumps(answers).encode(), self.evil)
        if is_evil:
            answers = spoil(answers, self.evil, [call["method"] for call in calls])
        return json.dumps(answers).encode()


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    async def sleep(self, delay_s):
        assert delay_s < 3600, "nobody may be made to wait for ever"
        self.now_s += delay_s


@contextlib.asynccontextmanager
async def evil_rig(chain, database_pool, memory, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pool, "asyncio", SimpleNamespace(sleep=clock.sleep))
    limits = msgspec.structs.replace(LIMITS, contract=chain.address, window_blocks=4)
    async with aiohttp.ClientSession() as session:
        rig = Rig([], limits, database_pool, session)
        node = EvilNode(chain.rpc_url, session, memory)
        client = pool.ChainClient(node, chain.address, 50)
        rig.nodes = rig.reader._pool = pool.NodePool([client], 3, clock)
        yield rig, node


async def tell_a_story(chain):
    token = await chain.deploy("Token", "SIX", 6)
    first = await chain.create(token_out=token)
    async with chain.one_block():
        await chain.create()
        await chain.modify(first, 5, 6)
    await chain.execute(first)
    await chain.send("openPosition", chain.users[0], token, 10, 3, 0, 10**18)
    await chain.mine(4)
    await chain.create()


async def steps(rig, most):
    """Step as the service does, troubles told in the database."""
    for _ in range(most):
        try:
            if not await rig.scanner.step():
                return
        except TransientError as error:
            await rig.state.tell("RECOVERY", str(error)[:500], None, None)


async def read_all(database_pool):
    """Answer what the API would, from whatever has been stored."""
    queries = Queries(database_pool)
    page = await queries.orders(OrderFilter(), Page())
    for order in page.orders:
        order_view(order, page.tokens)
        for event in (await queries.events(order.id, 100))[0]:
            iso(event.time_s)
    bounds = Bounds(has_chain=True, lag_blocks=50, silence_s=60.0, dead_letters=0)
    judge(await queries.scanner_state(), bounds)


async def test_no_answer_of_a_node_ends_the_scan_or_spoils_the_tables(chain, database, monkeypatch):
    await tell_a_story(chain)
    memory = {}
    async with open_pool(database, name="evil", server_settings=FAST) as database_pool:

        @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
        @given(evils)
        @example(Evil("field", "timestamp", "0x7fffffffffffffff", 0, 99))
        @example(Evil("field", "timestamp", "-0x5", 3, 99))
        @example(Evil("field", "hash", "0xzz", 0, 99))
        @example(Evil("method", "eth_getCode", "0xzz", 0, 99))
        @example(Evil("method", "eth_call", "0x" + "f" * 64, 0, 99))
        @example(Evil("field", "logsBloom", "0x" + "z" * 512, 0, 99))
        @example(Evil("bytes", 42, b"\xff", 0, 99))
        def check(evil):
            monkeypatch.undo()
            runner.run(try_out(evil))

        async def try_out(evil):
            await forget(database_pool)
            async with evil_rig(chain, database_pool, memory, monkeypatch) as (rig, node):
                node.evil = evil
                await steps(rig, 6)
                await read_all(database_pool)
                await chain_layer_alone(rig)

        runner = Runner()
        await runner.until_done(check)


class Runner:
    """Lets hypothesis, which does not wait, run coroutines of this loop."""

    def __init__(self):
        self._loop = asyncio.get_running_loop()

    def run(self, coroutine):
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def until_done(self, check):
        await asyncio.to_thread(check)


async def chain_layer_alone(rig):
    """Ask every question once more; only findings of the chain layer may leave it."""
    known = (TransientError, faults.RangeTooLarge, RejectedError, faults.ForeignChain)
    for ask in (
        rig.reader.identity,
        rig.reader.tip,
        lambda: rig.reader.headers([1, 2]),
        lambda: rig.reader.next_ids(3),
        lambda: rig.reader.deployment_block(4),
        lambda: rig.reader.read_range(1, 5, is_strict=True),
        lambda: rig.reader.read_blocks(4, 6, is_strict=False),
    ):
        with contextlib.suppress(*known):
            await ask()


@pytest.mark.parametrize("depth", [5_000, 60_000, 300_000])
@pytest.mark.parametrize("text", ['{{"a":{}1{}', "[{}1{}"])
async def test_an_answer_nested_without_end_is_refused_before_it_is_decoded(depth, text):
    opening, closing = ('{"a":', "}") if "a" in text else ("[", "]")
    body = f'[{{"jsonrpc":"2.0","id":0,"result":{opening * depth}1{closing * depth}}}]'
    with pytest.raises(TransientError, match="too deep"):
        rpc.RpcNode("http://x", None, 1)._decode([("eth_chainId", [])], body.encode())
    with pytest.raises(TransientError, match="too deep"):
        rpc.RpcNode("http://x", None, 1)._decode([("eth_chainId", [])], b"[" * depth)


@pytest.mark.parametrize(
    "around",
    ['"]",{}', '"a]",{}', r'"\"]",{}', r'"\\","]",{}', r'"\\\"]",{}', '"","]",{}', '"}}",{}'],
)
def test_brackets_within_strings_close_none(around):
    """A decoder that goes so deep ends the process, where the recursion limit has been lifted."""
    depth = 60_000
    body = "[" + around.format("[") * depth
    assert rpc.is_too_deep(body.encode())
    with pytest.raises(TransientError, match="too deep"):
        rpc.RpcNode("http://x", None, 1)._decode([("eth_chainId", [])], body.encode())


@pytest.mark.parametrize(
    "body",
    [b"\xff", b'[{"id":"\xff"}]', b'{"error":{"message":"\xc3("}}', b"[" * 4000, b'{"a":' * 4000],
)
def test_bytes_that_are_no_json_are_that_providers_trouble(body):
    with pytest.raises(TransientError, match="no JSON-RPC answer"):
        rpc.RpcNode("http://x", None, 1)._decode([("eth_chainId", [])], body)
    assert isinstance(rpc._refusal(500, None, body.decode(errors="replace")), TransientError)


@pytest.mark.parametrize(
    "result", [b'"\xff"', b'"0x\xc3("', b'{"number":"\xff"}', b'[{"data":"\xff"}]']
)
@pytest.mark.parametrize("read", [forms.text, forms.header, forms.logs])
def test_a_result_that_is_no_text_is_refused_by_whoever_knows_its_type(result, read):
    with pytest.raises(CorruptMessage):
        read(msgspec.Raw(result))


LOG = {
    "address": "0x" + "11" * 20, "topics": ["0x" + "22" * 32], "data": "0x", "blockNumber": "0x5",
    "blockHash": "0x" + "33" * 32, "transactionHash": "0x" + "44" * 32, "logIndex": "0x0",
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"blockHash": f"{LOG['blockHash']} {LOG['transactionHash']}", "transactionHash": "0x5",
         "blockNumber": "0x0 0x0", "logIndex": "0x1", "topics": [], "data": "0x", "address": "0x"},
        {"blockHash": f"{LOG['blockHash']} {LOG['transactionHash']}", "transactionHash": "0x5",
         "blockNumber": "0x0", "logIndex": "0x0", "blockTimestamp": LOG["topics"][0], "topics": []},
        {"logIndex": "0x0 0x5", "blockTimestamp": LOG["topics"][0], "topics": []},
        {"topics": [f"{LOG['topics'][0]} {LOG['topics'][0]}"]},
        {"topics": [], "data": f"{LOG['topics'][0]} 0x"},
    ],
)  # fmt: skip
def test_no_field_of_a_log_stands_in_anothers_place(changes):
    with pytest.raises(CorruptMessage):
        forms.logs(msgspec.Raw(msgspec.json.encode([LOG | changes])))


@pytest.mark.parametrize("name", ["blockNumber", "logIndex", "blockTimestamp"])
@pytest.mark.parametrize("zeros", [16_000, 1_000_000])
def test_a_number_of_zeros_without_end_is_refused_in_no_time(name, zeros):
    evil = LOG | dict.fromkeys(("blockNumber", "logIndex", "blockTimestamp"), "0x" + "0" * zeros)
    begun_s = time.process_time()
    for value in (evil, LOG | {name: evil[name]}, LOG | {name: evil[name] + "g"}):
        with pytest.raises(CorruptMessage):
            forms.logs(msgspec.Raw(msgspec.json.encode([value])))
    assert time.process_time() - begun_s < 1.0


@pytest.mark.parametrize(
    ("name", "most", "too_much"),
    [
        ("blockNumber", "0x7fffffffffffffff", "0x8000000000000000"),
        ("logIndex", "0x7fffffff", "0x80000000"),
        ("blockTimestamp", "0xfffffffff", "0x1000000000"),
    ],
)
def test_numbers_of_a_log_have_their_bounds_behind_zeros_too(name, most, too_much):
    for text in ("0x0", "0x00", "0x1", most, "0x00" + most[2:], "0X" + most[2:].upper()):
        (found,) = forms.logs(msgspec.Raw(msgspec.json.encode([LOG | {name: text}])))
        told = {
            "blockNumber": found.number,
            "logIndex": found.index,
            "blockTimestamp": found.time_s,
        }
        assert told[name] == int(text, 16)
    for text in ("0x", "", " ", too_much, "0x0" + too_much[2:], most + "0", "-" + most):
        if text or name != "blockTimestamp":  # an empty time is none
            with pytest.raises(CorruptMessage):
                forms.logs(msgspec.Raw(msgspec.json.encode([LOG | {name: text}])))


def test_great_answers_are_not_taken_for_deep_ones():
    log = {"topics": ["0x11", "0x22"], "data": "0x", "more": {"a": [1, {"b": []}]}}
    odd = {"error": {"code": 1, "message": "try [0x1, 0x5"}}
    body = msgspec.json.encode([{"id": 0, "result": [log] * 30_000 + [odd]}])
    assert not rpc.is_too_deep(body)
    assert rpc.RpcNode("http://x", None, 1)._decode([("eth_getLogs", [])], body)


@pytest.mark.parametrize(
    ("header", "delay_s"),
    [("5", 5.0), ("99999999999", 60.0), ("²", None), ("٣", None), ("9" * 500, None), ("-1", None)],
)
def test_a_provider_cannot_make_us_wait_for_ever_nor_stumble(header, delay_s):
    assert faults.classify_status(429, header, "text").retry_after_s == delay_s


def test_a_providers_words_can_be_stored_and_shown():
    for error in (
        faults.classify_status(500, None, "a\x00b\ud800"),
        faults.classify("eth_call", 1, "a\x00b\ud800"),
    ):
        assert str(error).endswith("a?b?")
    long = faults.classify("eth_getLogs", 1, "too many results: " + "1" * 100_000 + " blocks")
    assert isinstance(long, faults.RangeTooLarge)


@contextlib.asynccontextmanager
async def liar(chain, change):
    """Yield the URL of a node whose blocks are as ``change`` makes them."""

    async def handle(request):
        calls = await request.json()
        async with (
            aiohttp.ClientSession() as session,
            session.post(chain.rpc_url, json=calls) as response,
        ):
            answers = await response.json()
        return web.json_response([change(answer) for answer in answers])

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"
    finally:
        await runner.cleanup()


def out_of_time(answer):
    result = answer.get("result")
    if isinstance(result, dict) and "timestamp" in result:
        return answer | {"result": result | {"timestamp": "0x7fffffffffffffff"}}
    return answer


async def test_a_provider_whose_times_no_table_takes_is_shown_and_another_one_asked(chain, pool):
    await tell_a_story(chain)
    async with (
        liar(chain, out_of_time) as url,
        open_rig([url, chain.rpc_url], chain.address, pool) as rig,
    ):
        await rig.settle()
        (trouble,) = rig.reader.troubles().values()
        assert "no number up to" in trouble
        found = await dump(pool)
    assert len(found["orders"]) == 3
    assert found == await fresh_scan(chain.rpc_url, chain.address, pool)


async def test_a_counter_without_bounds_neither_fills_the_disk_nor_ends_the_process(chain, pool):
    await chain.create()
    counters = {"0x" + f"{number:064x}" for number in (1, 2)}

    def boast(answer):
        return (
            answer | {"result": f"0x{2**62:064x}"}
            if str(answer.get("result")) in counters
            else answer
        )

    async with liar(chain, boast) as url, open_rig([url], chain.address, pool) as rig:
        async with asyncio.timeout(20):
            for _ in range(3):
                with contextlib.suppress(TransientError):
                    await rig.scanner.step()
        assert rig.scanner.progress.retries
    async with open_rig(chain.rpc_url, chain.address, pool) as rig:
        await rig.settle()
    assert len((await dump(pool))["orders"]) == 1
