# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from localchain.artifacts import load_artifact
from localchain.node import NodeError, anvil_arguments, free_port, run_anvil
from localchain.rpc import Rpc, RpcError
from localchain.service import main, run_reorg
from localchain.settings import Settings
from localchain.testing import Chain, TransactionFailed, anvil_chain
from localchain.trading import (
    ETH,
    TOKEN_ADDRESSES,
    TRADING_ADDRESS,
    deploy_tokens,
    deploy_trading,
)
from localchain.traffic import Book, Traffic, choose_action, read_book

CHAIN = Path(__file__).resolve().parent.parent


@pytest.fixture
async def chain():
    async with anvil_chain() as running:
        yield running


async def logs(chain: Chain):
    return await chain.rpc.call("eth_getLogs", {"address": chain.address, "fromBlock": "0x0"})


async def test_contract_and_tokens_get_the_same_addresses_on_every_chain():
    async with anvil_chain("Trading") as chain:
        tokens = await deploy_tokens(chain.rpc)
        assert chain.address == TRADING_ADDRESS
        assert {symbol: address for symbol, (address, _) in tokens.items()} == TOKEN_ADDRESSES
        assert await deploy_tokens(chain.rpc) == tokens
        again = await deploy_trading(chain.rpc)
        assert again.address == TRADING_ADDRESS
        assert await again.read_int("nextOrderId") == 1


async def test_orphan_cancel_is_accepted_and_a_later_create_starts_afresh(chain):
    await chain.cancel(1, user=ETH)
    assert await chain.create() == 1
    order = await chain.trading.read("getOrder", 1)
    assert len(order) == 12 * 32
    assert int.from_bytes(order[9 * 32 : 10 * 32], "big") == 0
    await chain.execute(1)
    assert len(await logs(chain)) == 4  # cancel, create, reward, execute


async def test_zero_minimum_is_computed_by_the_contract_and_shown_by_a_modification_only(chain):
    order_id = await chain.create(amount_in=1000, min_amount_out=0)
    await chain.modify(order_id, 5, 0)
    created, modified = await logs(chain)
    assert len(created["data"]) == 2 + 3 * 64
    assert int(modified["data"][66:], 16) == 950


async def test_the_owner_is_checked_and_a_settled_order_stays_settled(chain):
    order_id = await chain.create(user=chain.users[0])
    with pytest.raises(TransactionFailed, match="cancelOrder"):
        await chain.cancel(order_id, user=chain.users[1])
    await chain.cancel(order_id, user=chain.users[0])
    with pytest.raises(TransactionFailed, match="executeOrder"):
        await chain.execute(order_id)


async def test_reorg_makes_the_newest_orders_disappear(chain):
    await chain.create()
    head = await chain.head()
    await chain.create()
    await chain.reorg(1)
    assert await chain.head() == head + 1
    assert await chain.trading.read_int("nextOrderId") == 2


@pytest.mark.parametrize("words", [["abc"], ["0"], ["-1"], ["1", "2"]])
def test_a_depth_that_is_none_is_refused_with_the_usage(words, capsys):
    assert main(["reorg", *words]) == 2
    told = capsys.readouterr().err
    assert "is no number of blocks from 1 on" in told
    assert "usage: python main.py" in told


async def test_a_reorg_deeper_than_the_chain_says_how_deep_it_may_be(chain):
    with pytest.raises(NodeError, match=r"DEPTH can be 1 to \d+$"):
        await run_reorg(Settings(rpc=chain.rpc_url), 10_000)


async def test_a_reorg_beyond_the_last_start_says_that_the_state_is_gone(tmp_path):
    arguments = anvil_arguments(1.0, tmp_path / "state.json")
    async with run_anvil(free_port(), arguments=arguments) as url, Rpc(url) as rpc:
        await rpc.call("anvil_mine", 30)
    async with run_anvil(free_port(), arguments=arguments) as url:
        with pytest.raises(NodeError, match="since its last start only; take a smaller DEPTH"):
            await run_reorg(Settings(rpc=url), 25)


async def test_transactions_of_one_block_share_it(chain):
    async with chain.one_block():
        await chain.create()
        await chain.create()
    assert len({entry["blockHash"] for entry in await logs(chain)}) == 1


async def test_traffic_reaches_every_kind_of_event_and_the_book_follows_the_chain(chain):
    tokens = await deploy_tokens(chain.rpc)
    addresses = {symbol: address for symbol, (address, _) in tokens.items()}
    traffic = Traffic(chain.trading, addresses, chain.users, random.Random(1))
    sent = {await traffic.act(open_orders=5) for _ in range(80)}
    assert sent == {
        "createLimitOrder", "createStopLossOrder", "modifyOrder", "executeOrder", "cancelOrder",
        "openPosition", "closePosition", "liquidatePosition",
    }  # fmt: skip
    book = await read_book(chain.trading)
    # Anvil answers before it has mined, so that a decision may have missed the order before it.
    assert 0 < len(book.orders) <= 5 + 1
    assert len({entry["topics"][0] for entry in await logs(chain)}) == 8


def test_a_full_book_is_worked_off_instead_of_growing():
    rng = random.Random(3)
    full = Book(orders=dict.fromkeys(range(10), ETH), positions=[1])
    actions = {choose_action(rng, full, open_orders=10) for _ in range(200)}
    assert "create" not in actions
    assert {"modify", "execute", "cancel"} <= actions


async def test_a_taken_port_is_reported_instead_of_waited_for():
    port = free_port()
    async with run_anvil(port):
        with pytest.raises(NodeError, match="listens at"):
            async with run_anvil(port):
                pass


async def test_the_command_deploys_makes_traffic_and_ends_cleanly_on_sigterm():
    port = free_port()
    environment = os.environ | {
        "CHAIN_PORT": str(port), "CHAIN_BLOCK_TIME_S": "0.2", "CHAIN_ACTION_INTERVAL_S": "0.1",
        "PYTHONPATH": str(CHAIN.parent.parent / "common"),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "main.py", cwd=CHAIN, env=environment
    )
    try:
        async with Rpc(f"http://127.0.0.1:{port}") as rpc:
            await wait_for_orders(rpc)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def wait_for_orders(rpc: Rpc) -> None:
    call = {"to": TRADING_ADDRESS, "data": load_artifact("Trading").calldata("nextOrderId")}
    async with asyncio.timeout(30):
        while True:
            try:
                if int((await rpc.call("eth_call", call, "latest"))[2:] or "0", 16) > 2:
                    return
            except (aiohttp.ClientError, RpcError):
                pass
            await asyncio.sleep(0.1)


async def test_a_chain_that_is_kept_has_one_genesis_over_many_restarts(tmp_path):
    state, seen = tmp_path / "chain.json", set()
    for _ in range(4):
        arguments = anvil_arguments(60, state)
        if state.exists():
            blocks = json.loads(state.read_bytes())["blocks"]
            assert [block["header"]["number"] for block in blocks].count("0x0") == 1
        async with run_anvil(free_port(), arguments=arguments) as url, Rpc(url) as rpc:
            await rpc.call("anvil_mine", "0x2")
            seen.add((await rpc.call("eth_getBlockByNumber", "0x0", False))["hash"])
            height = int(await rpc.call("eth_blockNumber"), 16)
    assert len(seen) == 1
    assert height == 8


def test_a_broken_state_file_is_named(tmp_path):
    state = tmp_path / "chain.json"
    state.write_text("{")
    with pytest.raises(NodeError, match=r"chain\.json is no state"):
        anvil_arguments(1, state)
