# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The tables of the decoder against the ABI and against web3.py, and its refusals."""

import json
from pathlib import Path

import aiohttp
import msgspec
import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st
from web3 import AsyncWeb3, Web3
from web3.datastructures import AttributeDict

from linkora.errors import CorruptMessage
from localchain.artifacts import load_artifact
from orders.chain import decode
from orders.chain.bloom import may_hold
from orders.chain.logs import TOPICS
from orders.chain.rpc import RpcNode
from orders.events import EVENT_TYPES, OrderTerms, PositionTerms
from orders.records import change_of, event_data

ABI = json.loads((Path(decode.__file__).parents[1] / "abi" / "trading.json").read_text())
EVENTS = {e["name"]: e for e in ABI if e["type"] == "event"}
CONTRACT = Web3().eth.contract(address="0x" + "11" * 20, abi=ABI)
# web3.py's names of the arguments, in the order of our structs' fields
FIELDS = {
    "OrderCreated": ("orderId", "user", "tokenIn", "tokenOut", "amountIn"),
    "OrderExecuted": ("orderId", "executor", "amountOut"),
    "OrderCancelled": ("orderId", "user"),
    "OrderModified": ("orderId", "newTargetPrice", "newMinAmountOut"),
    "PositionOpened": ("positionId", "user", "token", "size"),
    "PositionClosed": ("positionId", "user", "pnl"),
    "PositionLiquidated": ("positionId", "user", "liquidator", "pnl"),
}


def topic(name):
    return "0x" + keccak(text=signature(EVENTS[name])).hex()


def signature(entry):
    return f"{entry['name']}({','.join(i['type'] for i in entry['inputs'])})"


def test_the_committed_abi_is_the_local_contracts():
    own = {json.dumps(e, sort_keys=True) for e in load_artifact("Trading").abi}
    assert {json.dumps(e, sort_keys=True) for e in ABI} <= own


def test_topics_and_selectors_are_those_of_the_abi():
    assert set(decode.LOG_FORMS) == {topic(name) for name in FIELDS}
    by_name = {
        e["name"]: "0x" + keccak(text=signature(e))[:4].hex()
        for e in ABI
        if e["type"] == "function"
    }
    assert by_name == {
        "getOrder": decode.GET_ORDER, "getPosition": decode.GET_POSITION,
        "nextOrderId": decode.NEXT_ORDER_ID, "nextPositionId": decode.NEXT_POSITION_ID,
    }  # fmt: skip
    assert keccak(text="decimals()")[:4].hex() == decode.DECIMALS[2:]
    assert keccak(text="symbol()")[:4].hex() == decode.SYMBOL[2:]


def value_of(kind, data):
    if kind == "address":
        return "0x" + data.draw(st.binary(min_size=20, max_size=20)).hex()
    if kind == "int256":
        return data.draw(st.integers(-(2**255), 2**255 - 1))
    return data.draw(st.integers(0, 2**256 - 1))


@pytest.mark.parametrize("name", FIELDS)
@given(data=st.data())
def test_every_log_is_read_as_web3_reads_it(name, data):
    inputs = EVENTS[name]["inputs"]
    values = [value_of(i["type"], data) for i in inputs]
    topics = [topic(name)]
    topics += [
        "0x" + encode([i["type"]], [v]).hex()
        for i, v in zip(inputs, values, strict=True)
        if i["indexed"]
    ]
    words = [(i["type"], v) for i, v in zip(inputs, values, strict=True) if not i["indexed"]]
    payload = "0x" + encode([t for t, _ in words], [v for _, v in words]).hex()
    raw = AttributeDict({
        "topics": [bytes.fromhex(t[2:]) for t in topics], "data": bytes.fromhex(payload[2:]),
        "address": CONTRACT.address, "blockHash": b"", "blockNumber": 1, "logIndex": 0,
        "transactionHash": b"", "transactionIndex": 0,
    })  # fmt: skip
    theirs = CONTRACT.events[name]().process_log(raw)["args"]
    subject, change = decode.decode_log(topics, payload)
    ours = [subject, *(getattr(change, f) for f in change.__struct_fields__ if f != "terms")]
    expected = [theirs[field] for field in FIELDS[name]]
    assert ours == [v.lower() if isinstance(v, str) else v for v in expected]
    assert ours[1:] == stored_and_read_again(change)


def stored_and_read_again(change):
    terms = {
        "OrderCreated": OrderTerms(1, 2, 0, True, True),
        "PositionOpened": PositionTerms(1, 2, 1, 3),
    }
    if "terms" in change.__struct_fields__:
        change = msgspec.structs.replace(change, terms=terms[type(change).__name__])
    stored = json.loads(json.dumps(event_data(change)))
    again = change_of(EVENT_TYPES[type(change)], stored)
    assert again == change
    return [getattr(again, f) for f in again.__struct_fields__ if f != "terms"]


ID = "0x" + "0" * 63 + "1"
USER = "0x" + "0" * 24 + "ab" * 20


@pytest.mark.parametrize(
    ("topics", "data", "reason"),
    [
        ([], "0x", "unknown event"),
        (["0x" + "00" * 32], "0x", "unknown event"),
        ([topic("OrderCancelled"), ID], "0x", "2 topics instead of 3"),
        ([topic("OrderCancelled"), ID, USER], "0x00", "1 bytes instead of 0"),
        ([topic("OrderExecuted"), ID, USER], "0x", "0 bytes instead of 32"),
        ([topic("OrderExecuted"), ID, "0x" + "ff" * 32], "0x" + "00" * 32, "no address"),
        ([topic("OrderExecuted"), "0xzz", USER], "0x" + "00" * 32, "not hexadecimal"),
    ],
)
def test_logs_of_another_form_are_refused_with_the_reason(topics, data, reason):
    with pytest.raises(CorruptMessage, match=reason):
        decode.decode_log(topics, data)


def test_a_corrupt_answer_of_the_contract_is_refused():
    with pytest.raises(CorruptMessage, match="0 bytes instead of 384"):
        decode.decode_order("0x")
    with pytest.raises(CorruptMessage, match="no boolean"):
        decode.decode_order("0x" + "0" * 63 * 1 + "1" + "0" * 64 * 7 + "f" * 64 + "0" * 64 * 3)


@pytest.mark.parametrize(
    ("answer", "decimals"),
    [
        ("0x" + f"{6:064x}", 6), ("0x" + f"{77:064x}", 77), ("0x" + f"{255:064x}", 255),
        ("0x" + f"{256:064x}", None), ("0x" + "f" * 64, None), ("0x", None), ("", None),
        ("0x06", None), ("0xzz", None),
    ],
)  # fmt: skip
def test_decimals_are_an_eight_bit_number_or_unknown(answer, decimals):
    assert decode.decode_decimals(answer) == decimals


@pytest.mark.parametrize(
    ("answer", "symbol"),
    [
        (encode(["string"], ["USDC"]), "USDC"),
        (b"MKR".ljust(32, b"\x00"), "MKR"),
        (encode(["string"], ["<b>\x00\x07" + "x" * 90]), "<b>" + "x" * 29),
        (encode(["string"], [""]), None),
        (b"", None),
        ((32).to_bytes(32, "big") + b"\xff" * 64, None),
    ],
)
def test_symbols_are_short_printable_text_or_unknown(answer, symbol):
    assert decode.decode_symbol("0x" + answer.hex()) == symbol


async def test_headers_blooms_promise_exactly_the_blocks_that_hold_our_logs(chain):
    await chain.create()
    await chain.mine()
    head = await chain.head()
    found = []
    for number in range(head + 1):
        block = await chain.rpc.call("eth_getBlockByNumber", hex(number), False)
        logs = await chain.rpc.call("eth_getLogs", {"blockHash": block["hash"]})
        assert may_hold(block["logsBloom"], chain.address, TOPICS) == bool(logs)
        found += logs
    assert found
    assert may_hold("0x", chain.address, TOPICS) is None


async def test_the_node_is_a_web3_provider_too(chain):
    async with aiohttp.ClientSession() as session:
        web3 = AsyncWeb3(RpcNode(chain.rpc_url, session, 1_000_000))
        order_id = await chain.create(amount_in=42)
        contract = web3.eth.contract(address=Web3.to_checksum_address(chain.address), abi=ABI)
        order = await contract.functions.getOrder(order_id).call()
        assert order[4] == 42
        head, chain_id = await web3.eth.block_number, await web3.eth.chain_id
        assert (head, chain_id) == (await chain.head(), 31337)


@pytest.mark.parametrize(
    ("read", "words", "place"), [(decode.decode_order, 12, 7), (decode.decode_position, 10, 5)]
)
def test_a_kind_that_is_no_uint8_is_refused_whatever_column_would_take_it(read, words, place):
    """The ABI's own decoders revert at it, and JSON has no whole numbers of 256 bits."""
    answer = ["0" * 64] * words
    answer[place] = f"{255:064x}"
    read("0x" + "".join(answer))
    for kind in (256, 2**255):
        answer[place] = f"{kind:064x}"
        with pytest.raises(CorruptMessage, match="uint8"):
            read("0x" + "".join(answer))
