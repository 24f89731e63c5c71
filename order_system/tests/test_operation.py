# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What operators see and do: metrics, health, the end of a process, commands, failover."""

import asyncio
import contextlib
import random
import signal
import time

import aiohttp
import pytest
from chainkit.proxy import flaky
from chainkit.rig import dump, fresh_scan, open_rig
from chainkit.services import environment, get, running
from prometheus_client.parser import text_string_to_metric_families

from linkora.errors import TransientError
from localchain.node import free_port
from localchain.testing import anvil_chain
from orders.queries import Queries
from orders.views import order_view

SCANNER = {
    "head_block", "last_block", "is_leading", "events", "reorgs", "deepest_reorg_blocks",
    "unproven_ranges", "dead_letters", "failures_total",
}  # fmt: skip


@contextlib.asynccontextmanager
async def both(chain, database, redis_settings, url=None, **more):
    """Yield the ports of both processes, the event processor's first, and that process."""
    events, api = free_port(), free_port()
    variables = environment(
        database, redis_settings, WEB3_PROVIDER=url or chain.rpc_url,
        TRADING_ADDRESS=chain.address, ORDER_API_PORT=str(api), EVENTS_PORT=str(events), **more,
    )  # fmt: skip
    async with running("api", variables), running("events", variables) as process:
        yield events, api, process


async def figures(port):
    """Return the samples of ``/metrics`` that have no labels but for counted answers."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as response,
    ):
        assert response.status == 200
        families = text_string_to_metric_families(await response.text())
        samples = [sample for family in families for sample in family.samples]
    found = {}
    for sample in samples:
        found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


async def until(ask, is_so, within_s=20.0):
    """Ask until the answer is as wanted, and return it."""
    async with asyncio.timeout(within_s):
        while not is_so(answer := await ask()):  # noqa: ASYNC110 - nobody calls
            await asyncio.sleep(0.05)
    return answer


async def is_active(api):
    await until(lambda: get(f"http://127.0.0.1:{api}/health"), lambda a: "ACTIVE" in str(a[1]))


async def test_metrics_of_both_processes_are_named_and_move(chain, database, redis_settings):
    await chain.create()
    async with both(chain, database, redis_settings) as (events, api, _):
        await is_active(api)
        before = await until(lambda: figures(events), lambda f: f["linkora_orders_events"] == 1.0)
        assert {f"linkora_orders_{name}" for name in SCANNER} <= set(before)
        assert before["linkora_orders_is_leading"] == 1
        assert before["linkora_orders_head_block"] == before["linkora_orders_last_block"] > 0
        await chain.create()
        await chain.send("emitLog", [bytes.fromhex(CREATED)], b"")
        await until(lambda: figures(events), lambda f: f["linkora_orders_dead_letters"] == 1)
        await chain.reorg(1)
        await chain.create()
        after = await until(lambda: figures(events), lambda f: f["linkora_orders_events"] == 3)
        assert after["linkora_orders_head_block"] > before["linkora_orders_head_block"]
        assert after["linkora_orders_reorgs"] == 1
        assert after["linkora_orders_deepest_reorg_blocks"] >= 1
        assert after["process_cpu_seconds_total"] >= before["process_cpu_seconds_total"]

        first = await figures(api)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{api}/ws") as socket,
        ):
            await socket.receive(5)
            for _ in range(3):
                await get(f"http://127.0.0.1:{api}/orders/all")
            second = await figures(api)
        assert second["websocket_connections"] == 1
        moved = {name for name, value in second.items() if value >= first.get(name, 0) + 3}
        assert {name for name in moved if name.startswith("http_")}, sorted(second)


CREATED = "dcb4282d27c4f0f72b550268698af955cf8c6bd36efec7b9a243e500452f86e2"


async def test_health_is_503_while_it_lags_holds_or_has_set_aside_too_much(
    chain, database, redis_settings, pool
):
    bounds = {"LAG_BLOCKS_MAX": "5", "DEAD_LETTERS_MAX": "1", "FINALITY_DEPTH": "2"}
    async with both(chain, database, redis_settings, **bounds) as (_, api, process):

        async def problems():
            status, body = await get(f"http://127.0.0.1:{api}/health")
            assert (status == 503) == bool(body["components"].get("problems"))
            return str(body["components"].get("problems"))

        await is_active(api)
        await chain.send("emitLog", [bytes.fromhex(CREATED)], b"")
        await until(
            lambda: pool.fetchval("SELECT count(*) FROM dead_letters"), lambda count: count == 1
        )
        assert await problems() == "[]"  # one is allowed
        await chain.send("emitLog", [bytes.fromhex(CREATED)], b"1")
        await until(problems, lambda text: "2 dead letters" in text)
        await pool.execute("UPDATE dead_letters SET resolved_at = now()")
        await until(problems, lambda text: text == "[]")
        process.send_signal(signal.SIGSTOP)
        await pool.execute("UPDATE system_state SET head_block = last_block + 6")
        assert "6 blocks behind" in await problems()
        process.send_signal(signal.SIGCONT)
        await until(problems, lambda text: text == "[]")
        for _ in range(6):
            await chain.create()
        head = await chain.head()
        await until(
            lambda: pool.fetchval("SELECT finalized_block FROM system_state"),
            lambda block: block >= head - 2,
        )
        await chain.reorg(5)
        await until(problems, lambda text: "below the final block" in text)
        await pool.execute("UPDATE system_state SET status = 'RECOVERY'")
        await until(problems, lambda text: text == "[]")


async def test_sigterm_ends_it_within_five_seconds_also_in_the_middle_of_a_long_scan(
    chain, database, redis_settings, pool
):
    for _ in range(30):
        await chain.create()
    await chain.mine(300)
    async with flaky(chain.rpc_url, random.Random(5), rate=1.0, faults=("slow",)) as proxy:
        more = {"RANGE_BLOCKS": "1", "RANGE_BLOCKS_MAX": "2", "FETCH_WORKERS": "2"}
        async with both(chain, database, redis_settings, proxy.url, **more) as (*_, process):
            # Two processes start, and some ten slow questions come before the first range: that is
            # eight seconds on an idle machine, and not what is measured here.
            await until(
                lambda: pool.fetchval("SELECT count(*) FROM orders"), lambda count: count, 60
            )
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 6) == 0
            assert time.monotonic() - began < 5
            state = await pool.fetchrow("SELECT last_block, status FROM system_state")
            assert state["last_block"] < await chain.head()
    async with open_rig(chain.rpc_url, chain.address, pool) as rig:
        await rig.settle()
    assert await dump(pool) == await fresh_scan(chain.rpc_url, chain.address, pool)


async def test_providers_take_over_from_each_other_while_the_scan_goes_on(pool):
    """Two nodes of one chain, as the second is a door to the first; each fails for a while."""
    async with (
        anvil_chain() as chain,
        flaky(chain.rpc_url, random.Random(1), rate=0.0, faults=("http_500",)) as first,
        flaky(chain.rpc_url, random.Random(2), rate=0.0, faults=("http_429",)) as second,
        open_rig([first.url, second.url], chain.address, pool) as rig,
    ):
        for failing, other in ((first, second), (second, first), (first, second)):
            failing.rate, other.rate = 1.0, 0.0
            asked = other.requests
            await chain.create()
            async with asyncio.timeout(30):
                while True:  # as the service does: the other one may be resting from its turn
                    try:
                        await rig.settle()
                    except TransientError:
                        await asyncio.sleep(0.05)
                    else:
                        break
            assert other.requests > asked
        assert len((await dump(pool))["orders"]) == 3


@pytest.mark.parametrize("decimals", [0, 6, 18, 77])
async def test_amounts_are_scaled_by_whatever_decimals_the_token_tells(decimals, chain, rig, pool):
    token = await chain.deploy("Token", "ANY", decimals)
    raw = 12345678901234567890
    await chain.create(token_in=token, amount_in=raw)
    await rig.settle()
    found = await Queries(pool).order(1)
    assert found is not None
    view = order_view(*found)
    digits = str(raw).rjust(decimals + 1, "0")
    whole, rest = (digits[:-decimals], digits[-decimals:]) if decimals else (digits, "")
    assert view.amount_in == f"{whole}.{rest}".rstrip("0").rstrip(".")
    assert (view.amount_in_raw, view.token_in_decimals) == (str(raw), decimals)
