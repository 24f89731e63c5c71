# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The local chain as one process: node, contract, traffic."""

import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import aiohttp
import structlog

from linkora.logs import configure_logs
from linkora.settings import load
from localchain.node import NodeError, anvil_arguments, run_anvil
from localchain.rpc import Rpc, RpcError
from localchain.settings import Settings
from localchain.trading import (
    TOKEN_ADDRESSES,
    TRADING_ADDRESS,
    DeploymentError,
    deploy_tokens,
    deploy_trading,
)
from localchain.traffic import Traffic

log = structlog.get_logger(__name__)

USAGE = "usage: python main.py [all | node | deploy | traffic | check | reorg [DEPTH]]"
DEFAULT_REORG_DEPTH = 3


def main(arguments: Sequence[str]) -> int:
    """Run one command of the local chain and return the process's exit code."""
    settings = load(Settings)
    configure_logs("local-chain", settings.log_level)
    command, *rest = arguments or ["all"]
    if command == "reorg" and not _is_depth(rest):
        sys.stderr.write(f"DEPTH: {' '.join(rest)!r} is no number of blocks from 1 on\n{USAGE}\n")
        return 2
    commands = {
        "all": run_all,
        "node": run_node_only,
        "deploy": run_deploy,
        "traffic": run_traffic,
        "check": run_check,
    }
    try:
        if command == "reorg":
            asyncio.run(run_reorg(settings, int(rest[0]) if rest else DEFAULT_REORG_DEPTH))
        elif command in commands:
            asyncio.run(_until_signal(commands[command](settings)))
        else:
            sys.stderr.write(USAGE + "\n")
            return 2
    except (NodeError, DeploymentError, RpcError, aiohttp.ClientError) as error:
        log.error("local_chain_failed", error=str(error))
        return 1
    return 0


async def run_all(settings: Settings) -> None:
    """Start Anvil (unless a node is given), deploy, and make traffic until stopped."""
    async with node(settings) as url:
        await run_traffic(settings.model_copy(update={"rpc": url}))


async def run_node_only(settings: Settings) -> None:
    """Keep Anvil running, with nothing on it, until stopped."""
    async with node(settings):
        await asyncio.Event().wait()


async def run_deploy(settings: Settings) -> None:
    """Deploy the contract and the tokens to the node that is given or listens on the port."""
    async with Rpc(rpc_url(settings)) as rpc:
        trading = await deploy_trading(rpc)
        tokens = await deploy_tokens(rpc)
    log.info("contracts_deployed", trading=trading.address, tokens=len(tokens))


async def run_traffic(settings: Settings) -> None:
    """Deploy what is missing, then act at random intervals, for ever."""
    rng = random.Random(settings.seed)  # noqa: S311 - a story, not a secret
    async with Rpc(rpc_url(settings)) as rpc:
        trading = await deploy_trading(rpc)
        tokens = await deploy_tokens(rpc)
        accounts = await rpc.call("eth_accounts")
        log.info("contracts_deployed", trading=trading.address, tokens=len(tokens))
        addresses = {symbol: address for symbol, (address, _) in tokens.items()}
        traffic = Traffic(trading, addresses, accounts, rng)
        while True:
            try:
                await traffic.act(settings.open_orders)
            except RpcError as error:
                log.warning("transaction_refused", error=str(error))
            await asyncio.sleep(rng.uniform(0.2, 1.8) * settings.action_interval_s)


async def run_check(settings: Settings) -> None:
    """Return if the node answers and the contract and its tokens are on it.

    Raises:
        DeploymentError: If they are not.
    """
    async with Rpc(rpc_url(settings)) as rpc:
        last = list(TOKEN_ADDRESSES.values())[-1]
        for address in (TRADING_ADDRESS, last):
            if await rpc.call("eth_getCode", address, "latest") == "0x":
                message = f"no contract at {address} yet"
                raise DeploymentError(message)


async def run_reorg(settings: Settings, depth: int) -> None:
    """Replace the newest ``depth`` blocks with empty ones (Anvil only).

    Raises:
        NodeError: If the chain is not that long, or the state before those blocks is gone.
    """
    async with Rpc(rpc_url(settings)) as rpc:
        head = int(await rpc.call("eth_blockNumber"), 16)
        if depth > head:
            message = f"the chain has only {head} blocks after its first: DEPTH can be 1 to {head}"
            raise NodeError(message)
        try:
            await rpc.call("anvil_reorg", depth, [])
        except RpcError as error:
            message = (
                f"the node does not go back {depth} blocks: Anvil has the state of blocks since "
                f"its last start only; take a smaller DEPTH ({error})"
            )
            raise NodeError(message) from error
    log.info("reorg_made", depth=depth)


@contextlib.asynccontextmanager
async def node(settings: Settings) -> AsyncIterator[str]:
    """Yield the URL of the node that is given, or of an Anvil that lives as long as the block."""
    if settings.rpc:
        yield settings.rpc
        return
    arguments = anvil_arguments(settings.block_time_s, settings.state)
    async with run_anvil(settings.port, settings.host, arguments) as url:
        log.info("node_started", url=url, chain_id=31337)
        yield url


def _is_depth(rest: Sequence[str]) -> bool:
    return not rest or (len(rest) == 1 and rest[0].isdecimal() and int(rest[0]) > 0)


def rpc_url(settings: Settings) -> str:
    """Return the node's URL, the default one if none is given."""
    return settings.rpc or f"http://127.0.0.1:{settings.port}"


async def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
