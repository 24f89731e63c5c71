# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The life of a process: start, supervise the loops, serve HTTP, end cleanly.

SIGTERM and SIGINT cancel everything and the process exits with 0 after its ``async with`` blocks
have closed what they opened. The first loop that fails takes the process down with it (exit 1),
so that whoever supervises it starts a whole one again.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import structlog
import uvicorn
import uvloop
from prometheus_client import CollectorRegistry

from linkora.frames import FrameProtocol
from linkora.guards import BoundedHttp
from linkora.logs import configure_logs
from linkora.requests import RequestIds
from linkora.settings import ServiceSettings, load

log = structlog.get_logger(__name__)

GRACEFUL_SHUTDOWN_S = 5
MAX_MESSAGE_BYTES = 64 * 1024
S = TypeVar("S", bound=ServiceSettings)


def start(service: str, settings: type[S], run: Callable[[S], Coroutine[Any, Any, None]]) -> None:
    """Load the settings, run the service until a signal ends it, and exit.

    Raises:
        SystemExit: 0 after a signal, 1 if a loop failed, 2 for a wrong setting.
    """
    loaded = load(settings)
    configure_logs(service, loaded.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise SystemExit(runner.run(_until_signal(run(loaded))))


async def _until_signal(service: Coroutine[Any, Any, None]) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(service)
    was_asked = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        if not was_asked.is_set():
            log.info("stop_requested", signal=number.name)
            was_asked.set()
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    log.info("service_started")
    try:
        await task
    except asyncio.CancelledError:
        pass
    except Exception:
        log.exception("service_failed")
        return 1
    if not was_asked.is_set():
        log.error("service_ended_unasked")
        return 1
    log.info("service_stopped")
    return 0


async def supervise(*loops: Awaitable[None]) -> None:
    """Run endless loops side by side until one fails or all are cancelled.

    Raises:
        RuntimeError: If a loop returns: none should, and a half-dead service is worse than a
            dead one.
        ExceptionGroup: The failure of a loop.
    """
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(_endless(loop))


async def _endless(loop: Awaitable[None]) -> None:
    await loop
    raise RuntimeError(f"the loop {getattr(loop, '__qualname__', loop)!r} ended")


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which raise SIGTERM again before we have closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(
    app: Any,
    *,
    host: str,
    port: int,
    ws_ping_interval_s: float | None = 20.0,
    ws_ping_timeout_s: float | None = 20.0,
    on_listening: Callable[[int], None] | None = None,
    registry: CollectorRegistry | None = None,
    listener: socket.socket | None = None,
) -> None:
    """Serve ``app`` until cancelled; then finish the requests under way and close.

    Args:
        app: The ASGI application.
        host: Address to listen on.
        port: Port to listen on, 0 for any free one.
        ws_ping_interval_s: Seconds between WebSocket pings of the protocol, ``None`` for none.
        ws_ping_timeout_s: Seconds until a socket without a pong is closed.
        on_listening: Told the port once the server listens.
        registry: Where answers are counted and timed, ``None`` for nowhere.
        listener: A socket that listens already, in the place of ``host`` and ``port``.

    Raises:
        OSError: If the address is taken or not ours; the text names it.
    """
    config = uvicorn.Config(
        RequestIds(app, registry),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        http=BoundedHttp,
        ws=FrameProtocol,
        ws_per_message_deflate=False,  # shared frames cannot be compressed for each client
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=ws_ping_interval_s,
        ws_ping_timeout=ws_ping_timeout_s,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
    )
    with listener or listening_socket(host, port) as open_listener:
        if on_listening:
            on_listening(open_listener.getsockname()[1])
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[open_listener]))
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``port``, 0 for any free one.

    Raises:
        OSError: If the address is taken or not ours; the text names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
