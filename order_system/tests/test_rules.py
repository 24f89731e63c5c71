# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# ruff: noqa: E501 - tables
"""The pure rules: lifecycle, reorg verdicts, refusals, range sizes, health, parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkora.errors import RejectedError, RequestError, TransientError
from orders import params
from orders.chain import faults
from orders.chain.reorg import Extend, Hold, Rollback, Sight, Wait, judge
from orders.condition import Bounds, ScannerState
from orders.condition import judge as judge_health
from orders.events import (
    Event,
    OrderCancelled,
    OrderCreated,
    OrderExecuted,
    OrderModified,
    OrderTerms,
)
from orders.lifecycle import fold_orders
from orders.ranges import RangeSizer

TERMS = OrderTerms(10, 20, 0, True, True)
CREATED = OrderCreated("0xu", "0xa", "0xb", 5, TERMS)
MODIFIED, EXECUTED, CANCELLED = (
    OrderModified(11, 21),
    OrderExecuted("0xe", 9),
    OrderCancelled("0xu"),
)


def story(*changes):
    return [
        Event(1, change, 100 + number, 0, f"0x{number}", 1000 + number)
        for number, change in enumerate(changes)
    ]


@pytest.mark.parametrize(
    ("changes", "status", "price"),
    [
        ([CREATED], "PENDING", 10),
        ([CREATED, MODIFIED], "PENDING", 11),
        ([CREATED, EXECUTED], "EXECUTED", 10),
        ([CREATED, CANCELLED], "CANCELLED", 10),
        ([CREATED, CANCELLED, EXECUTED], "CANCELLED", 10),
        ([CREATED, EXECUTED, MODIFIED], "EXECUTED", 10),
        ([CANCELLED, MODIFIED, CREATED], "PENDING", 10),
        ([CREATED, MODIFIED, CREATED], "PENDING", 11),
    ],
)
def test_an_order_is_what_its_events_make_of_it(changes, status, price):
    orders, steps = fold_orders({}, story(*changes))
    assert (orders[1].status, orders[1].target_price) == (status, price)
    assert len(steps) == len(changes)


def test_events_without_a_creation_make_no_order_and_say_so():
    orders, steps = fold_orders({}, story(MODIFIED, EXECUTED, CANCELLED))
    assert orders == {}
    assert [step.new_status for step in steps] == [None, None, None]


@given(
    st.lists(st.sampled_from([CREATED, MODIFIED, EXECUTED, CANCELLED]), max_size=8),
    st.integers(0, 8),
)
def test_folding_in_two_parts_gives_the_same_as_folding_at_once(changes, cut):
    events = story(*changes)
    whole, steps = fold_orders({}, events)
    first, steps_before = fold_orders({}, events[:cut])
    second, steps_after = fold_orders(first, events[cut:])
    assert first | second == whole
    assert steps_before + steps_after == steps


STORED = {7: "g", 8: "h", 9: "i"}


@pytest.mark.parametrize(
    ("head", "remote", "polls", "floor", "verdict"),
    [
        (9, {9: "i"}, 0, 0, Extend()),
        (12, {9: "i"}, 0, 0, Extend()),
        (9, {7: "g", 8: "h", 9: "x"}, 0, 0, Rollback(8)),
        (15, {7: "g", 8: "x", 9: "x"}, 0, 0, Rollback(7)),
        (9, {7: "g", 8: "x", 9: "x"}, 0, 7, Rollback(7)),
        (9, {7: "g", 8: "x", 9: "x"}, 0, 8, Hold),
        (9, {7: "x", 8: "x", 9: "x"}, 0, 0, Hold),
        (8, {7: "g", 8: "h"}, 1, 0, Wait),
        (8, {7: "g", 8: "h"}, 3, 0, Rollback(8)),
        (8, {7: "g", 8: "x"}, 2, 0, Wait),
        (8, {7: "g", 8: "x"}, 3, 0, Rollback(7)),
        (3, {}, 3, 0, Hold),
        (12, {7: "g", 8: "h"}, 0, 0, Wait),
        (12, {7: "g", 9: "x"}, 0, 0, Wait),
        (12, {}, 0, 0, Wait),
        (8, {7: "g"}, 3, 0, Wait),
        (12, {8: "h", 9: "x"}, 0, 0, Rollback(8)),
    ],
)
def test_the_head_is_judged_by_the_numbered_rules(head, remote, polls, floor, verdict):
    found = judge(Sight(head, STORED, remote, polls), floor, lower_head_polls=3)
    assert found == verdict if not isinstance(verdict, type) else isinstance(found, verdict)


@pytest.mark.parametrize(
    ("method", "code", "message", "kind", "blocks"),
    [
        ("eth_getLogs", -32005, "query returned more than 10000 results", faults.RangeTooLarge, None),
        ("eth_getLogs", -32602, "Log response size exceeded. this block range should work: [0x10, 0x1f]", faults.RangeTooLarge, 16),
        ("eth_getLogs", -32614, "eth_getLogs is limited to a 10,000 range", faults.RangeTooLarge, None),
        ("eth_getLogs", -32000, "exceed maximum block range: 5000", faults.RangeTooLarge, 5000),
        ("eth_getLogs", -32000, "range is too large, max is 1k blocks", faults.RangeTooLarge, 1000),
        ("eth_getLogs", -32005, "limit exceeded", faults.RangeTooLarge, None),
        ("eth_getLogs", -32000, "query timeout exceeded", faults.RangeTooLarge, None),
        ("eth_getLogs", -32005, "daily request count exceeded, request rate limited", faults.RateLimited, None),
        ("eth_call", -32029, "Too Many Requests", faults.RateLimited, None),
        ("eth_getLogs", -32000, "unknown block", faults.NodeBehind, None),
        ("eth_getLogs", -32602, "BlockOutOfRangeError: block height is 5 but requested was 9", faults.NodeBehind, None),
        ("eth_call", -32602, "BlockOutOfRangeError: block height is 9 but requested was 5", faults.StateUnavailable, None),
        ("eth_call", -32000, "header not found", faults.NodeBehind, None),
        ("eth_call", -32000, "missing trie node 1234 (path )", faults.StateUnavailable, None),
        ("eth_call", 3, "execution reverted: no decimals", faults.CallReverted, None),
        ("eth_call", -32015, "VM execution error: revert", faults.CallReverted, None),
        ("eth_call", -32602, "invalid argument 1: json: cannot unmarshal object", faults.Unsupported, None),
        ("trace_block", -32601, "the method does not exist", faults.Unsupported, None),
        ("eth_getLogs", -32603, "internal error", TransientError, None),
    ],
)  # fmt: skip
def test_what_providers_say_is_understood(method, code, message, kind, blocks):
    error = faults.classify(method, code, message)
    assert type(error) is kind
    if isinstance(error, faults.RangeTooLarge) and blocks:
        assert error.blocks == blocks


@pytest.mark.parametrize(
    ("status", "retry_after", "kind", "delay_s"),
    [
        (429, "7", faults.RateLimited, 7.0), (429, None, faults.RateLimited, None),
        (503, "3", TransientError, 3.0), (502, None, TransientError, None),
        (413, None, faults.RangeTooLarge, None), (401, None, RejectedError, None),
    ],
)  # fmt: skip
def test_http_statuses_are_understood(status, retry_after, kind, delay_s):
    error = faults.classify_status(status, retry_after, "text")
    assert type(error) is kind
    assert getattr(error, "retry_after_s", None) == delay_s


def test_ranges_grow_towards_the_logs_they_shall_hold_and_shrink_when_refused():
    sizer = RangeSizer(first=100, most=10_000, logs_target=1000)
    sizer.took(100, 10)
    assert sizer.blocks == 200
    sizer.took(200, 4000)
    assert sizer.blocks == 50
    sizer.took(50, 0)
    assert sizer.refused(100, None) == 50
    assert sizer.refused(50, 7) == 7
    sizer.took(7, 0)
    assert sizer.blocks == 7
    for _ in range(40):
        sizer.took(sizer.blocks, 0)
    assert 7 < sizer.blocks <= 14


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 10_000), st.booleans()), max_size=50)
)
def test_a_range_always_has_at_least_one_block_and_at_most_the_limit(history):
    sizer = RangeSizer(first=10, most=1000, logs_target=500)
    for blocks, logs, is_refused in history:
        if is_refused:
            sizer.refused(blocks, None)
        else:
            sizer.took(blocks, logs)
        assert 1 <= sizer.blocks <= 1000


BOUNDS = Bounds(has_chain=True, lag_blocks=50, silence_s=60, dead_letters=0)
WELL = ScannerState("ACTIVE", "", 1, 1, 100, 5, 100, 90, 0, 1.0, 0)


def changed(**fields):
    import msgspec

    return msgspec.structs.replace(WELL, **fields)


@pytest.mark.parametrize(
    ("state", "is_healthy"),
    [
        (None, True), (WELL, True),
        (changed(head_block=150), True), (changed(head_block=151), False),
        (changed(silence_s=61.0), False), (changed(dead_letters=1), False),
        (changed(discrepancies=1), False),
        (changed(status="ERROR"), False), (changed(status="RECOVERY"), True),
        (changed(status="RECOVERY", inactive_s=60.0), True),
        (changed(status="RECOVERY", inactive_s=61.0), False),
    ],
)  # fmt: skip
def test_health_tells_lag_silence_holding_and_what_was_set_aside(state, is_healthy):
    assert judge_health(state, BOUNDS).is_healthy is is_healthy


@pytest.mark.parametrize(
    ("read", "status", "message"),
    [
        (lambda: params.status({"status": "open"}), 400, "Invalid status. Use: pending, executed, cancelled"),
        (lambda: params.address("0x12"), 400, "Invalid address"),
        (lambda: params.order_id("abc"), 400, "Invalid order_id format. Must be a number."),
        (lambda: params.order_id("-1"), 400, "Invalid order_id format"),
        (lambda: params.order_id(str(2**63)), 404, "not found"),
        (lambda: params.page({"limit": "0"}), 400, "limit must be between 1 and 1000"),
        (lambda: params.page({"limit": "1001"}), 400, "limit must be between"),
        (lambda: params.page({"offset": "-5"}), 400, "offset must be between"),
        (lambda: params.page({"cursor": "x"}), 400, "Invalid cursor"),
        (lambda: params.page({"order": "up"}), 400, "Invalid order"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused_with_what_is_allowed(read, status, message):
    with pytest.raises(RequestError, match=message) as caught:
        read()
    assert caught.value.status == status


def test_parameters_are_taken_in_any_letter_case():
    assert params.status({"status": "ExEcUtEd"}) == "EXECUTED"
    assert params.address("0X" + "AB" * 20) == "0x" + "ab" * 20
    assert params.order_id("12") == 12
    assert params.page({"cursor": "7-3", "order": "ASC"}).after == (7, 3)
