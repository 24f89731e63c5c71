# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The composition roots: what is opened, handed down and supervised in each process."""

import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from starlette.applications import Starlette

from linkora.database import open_pool
from linkora.health import Health
from linkora.http import EXCEPTION_HANDLERS, observability_routes
from linkora.metrics import new_registry
from linkora.runtime import serve_http, start, supervise
from orders.app import create_app
from orders.queries import Queries
from orders.settings import Settings

log = structlog.get_logger(__name__)

USAGE = "usage: python main.py api | events"
EXIT_USAGE = 2


def run(arguments: Sequence[str]) -> None:
    """Run the service that the command line names until a signal ends it.

    Raises:
        SystemExit: Always; 0 after a signal, 1 after a failure, 2 for a wrong name or setting.
    """
    services: dict[str, tuple[str, Callable[[Settings], Coroutine[Any, Any, None]]]] = {
        "api": ("order-api", run_api),
        "events": ("order-events", run_events),
    }
    if len(arguments) != 1 or arguments[0] not in services:
        sys.stderr.write(USAGE + "\n")
        raise SystemExit(EXIT_USAGE)
    name, service = services[arguments[0]]
    start(name, Settings, service)


async def run_api(settings: Settings) -> None:
    """Serve the order API."""
    registry = new_registry()
    async with open_pool(settings.database, name="order-api") as pool:
        app = create_app(Queries(pool), settings.bounds, registry)
        await supervise(
            serve_http(
                app,
                host=settings.order_api_host,
                port=settings.order_api_port,
                on_listening=lambda port: log.info("api_listening", port=port),
            )
        )


async def run_events(settings: Settings) -> None:
    """Follow the chain, if there is one, and tell how that goes on ``/health``."""
    registry = new_registry()
    health = Health()
    if not settings.has_chain:
        health.fact("chain", lambda: "NOT_CONFIGURED")
        log.warning("chain_not_configured", needed="WEB3_PROVIDER and TRADING_ADDRESS")
    app = Starlette(
        routes=observability_routes(health, registry), exception_handlers=EXCEPTION_HANDLERS
    )
    await supervise(
        serve_http(
            app,
            host=settings.events_host,
            port=settings.events_port,
            on_listening=lambda port: log.info("health_listening", port=port),
        )
    )
