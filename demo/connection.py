# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the scripts of this folder share: arguments, a socket that comes back, a clean end."""

import os
import signal
import sys

# Ctrl-C and SIGTERM end quietly from here on, also during the slow imports below; ``start`` takes
# over from this.
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: os._exit(0))

import argparse  # noqa: E402
import asyncio  # noqa: E402
import json  # noqa: E402
from collections.abc import AsyncIterator, Awaitable, Callable  # noqa: E402
from typing import Any  # noqa: E402

try:
    import httpx
    import websockets
    from rich.console import Console
except ModuleNotFoundError as missing:
    sys.exit(
        f"The library {missing.name} is not installed here. After ./run_local.sh:\n"
        f"  .venv/bin/python {sys.argv[0]}\n"
        "or: pip install -c constraints.txt -r demo/requirements.txt"
    )

API_URL = "http://127.0.0.1:8022"
ORDERS_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 10.0
RECONNECT_S = 1.0
EXIT_NOT_THERE = 3
START_HINT = """Start the suite first, in the repository's folder, one way or the other:
  ./run_local.sh --detach
  docker compose -f docker-compose.yml -f docker-compose.demo.yml up -d
or say where it is with --api and --orders."""

console = Console()


class NotThereError(Exception):
    """A server could not be reached, or refused; the text is for the person at the terminal."""


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows where the servers are."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument(
        "--api", default=os.environ.get("API_URL", API_URL), help="the market data API"
    )
    made.add_argument(
        "--orders", default=os.environ.get("ORDERS_URL", ORDERS_URL), help="the order API"
    )
    return made


async def get(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    """Return the decoded answer of a GET request.

    Raises:
        NotThereError: If nobody answers, or with an error.
    """
    wanted = {name: value for name, value in query.items() if value is not None}
    try:
        answer = await client.get(path, params=wanted)
    except httpx.TransportError as error:
        raise NotThereError(
            f"{client.base_url} does not answer ({error}).\n{START_HINT}"
        ) from error
    if answer.is_error:
        raise NotThereError(f"{answer.url}: HTTP {answer.status_code}: {answer.text[:300]}")
    return answer.json()


def client_of(base_url: str) -> httpx.AsyncClient:
    """Return a client; the environment's proxies are left out, because servers are near."""
    return httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT_S, trust_env=False)


def socket_url(base_url: str, path: str) -> str:
    """Return the WebSocket address beside a REST address."""
    return base_url.rstrip("/").replace("http", "ws", 1) + path


async def listen(
    url: str, subscribe: list[dict[str, Any]], on_away: Callable[[str], None]
) -> AsyncIterator[dict[str, Any]]:
    """Yield the messages of a socket, for ever; reconnects by itself.

    Args:
        url: Of the socket; with ``?type=none`` it starts without a subscription.
        subscribe: The channels to subscribe to after each connection.
        on_away: Told why, each time the connection is lost.

    Raises:
        NotThereError: If the very first connection fails, or a subscription is refused.
    """
    was_there = False
    while True:
        try:
            async with websockets.connect(url, proxy=None, close_timeout=1) as socket:
                was_there = True
                if subscribe:
                    await socket.send(json.dumps({"type": "subscribe", "channels": subscribe}))
                async for text in socket:
                    message = json.loads(text)
                    if message.get("type") == "heartbeat":
                        await socket.send('{"type":"pong"}')
                    elif message.get("type") == "error":
                        raise NotThereError(f"{url}: {message['error']}")
                    elif message.get("type") not in {"subscribed", "pong"}:
                        yield message
            on_away("closed by the server")
        except (OSError, websockets.WebSocketException) as error:
            if not was_there:
                raise NotThereError(f"{url} does not answer ({error}).\n{START_HINT}") from error
            on_away(str(error) or type(error).__name__)
        await asyncio.sleep(RECONNECT_S)


def start(main: Callable[[], Awaitable[int | None]], *, interrupted: int = 0) -> None:
    """Run ``main`` and end the process with its code; Ctrl-C and SIGTERM end it quietly.

    Args:
        main: What is run.
        interrupted: The exit code after Ctrl-C or SIGTERM: not 0 where the code is a verdict.
    """

    async def run() -> int:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main() or 0

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = asyncio.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = interrupted
    except NotThereError as error:
        Console(stderr=True, highlight=False).print(str(error), style="bold red", markup=False)
        code = EXIT_NOT_THERE
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        code = 0
    sys.exit(code)
