# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The whole product as its users have it: every service a process, exchange and chain at home."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from linkora.settings import DatabaseSettings, RedisSettings
from linkora.timeframes import MINUTE_MS
from localchain.testing import Chain, anvil_chain
from simulator.testing import RunningExchange, running_exchange
from testkit.services import Service, running_service, until

SYMBOLS = "BTCUSDT,ETHUSDT,PEPEUSDT"
HISTORY_TIMEOUT_S = 60.0


class Product(msgspec.Struct, frozen=True):
    """What runs, and where it answers."""

    exchange: RunningExchange
    collector: Service
    api: Service
    order_api: Service | None
    order_events: Service | None
    chain: Chain | None


@asynccontextmanager
async def running_product(
    database: DatabaseSettings,
    redis: RedisSettings,
    folder: Path,
    *,
    symbols: str = SYMBOLS,
    history_minutes: int = 3 * 24 * 60,
    has_chain: bool = False,
    **settings: str | float,
) -> AsyncIterator[Product]:
    """Run everything until the block ends; the collector has its history once it begins.

    Args:
        database: A migrated database.
        redis: An empty Redis.
        folder: Where the services' logs go.
        symbols: Comma-separated.
        history_minutes: How much history the collector loads.
        has_chain: Whether a local chain and the order system run, too.
        settings: Further settings of the API server, by the names of their variables.
    """
    start_ms = time.time_ns() // 1_000_000 - history_minutes * MINUTE_MS
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        exchange = await enter(running_exchange(symbols=symbols))
        chain = order_api = order_events = None
        if has_chain:
            chain = await enter(anvil_chain())
            order_api, order_events = [
                await enter(
                    running_service(
                        "order_system", name, port_name=port_name,
                        log=folder / f"order-{name}.log", database=database, redis=redis,
                        WEB3_PROVIDER=chain.rpc_url, TRADING_ADDRESS=chain.address,
                    )
                )
                for name, port_name in (("api", "ORDER_API_PORT"), ("events", "EVENTS_PORT"))
            ]  # fmt: skip
            settings.setdefault("WEB_ORDERS_URL", order_api.url)
        collector = await enter(
            running_service(
                "data-collector", port_name="COLLECTOR_PORT", log=folder / "collector.log",
                BINANCE_BASE_URL=exchange.rest_url, BINANCE_WS_URL=exchange.ws_url,
                SYMBOLS=symbols, START_DATE=_iso(start_ms), database=database, redis=redis,
            )
        )  # fmt: skip
        api = await enter(
            running_service(
                "api-server", port_name="API_PORT", log=folder / "api.log",
                database=database, redis=redis, **{"RATE_LIMIT": 0, **settings},
            )
        )  # fmt: skip
        running = [s for s in (collector, api, order_api, order_events) if s is not None]
        await asyncio.gather(*(service.until_healthy() for service in running))
        await until(lambda: "history_complete" in collector.log.read_text(), HISTORY_TIMEOUT_S)
        yield Product(exchange, collector, api, order_api, order_events, chain)


def _iso(time_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(time_ms / 1000))
