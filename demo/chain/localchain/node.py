# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Anvil as a child process: found or installed from npm, started, and always ended."""

import asyncio
import contextlib
import fcntl
import json
import platform
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from localchain.rpc import Rpc, RpcError

HERE = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
INSTALL_TIMEOUT_S = 300.0
CHAIN_ID = 31337


class NodeError(Exception):
    """The node cannot be installed or started; the message says what to do."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_anvil() -> Path | None:
    """Return the Anvil to run: the one npm put here, else one on the PATH, else None."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"anvil-{platform.system().lower()}-{machine}"
    local = HERE / "node_modules" / "@foundry-rs" / package / "bin" / "anvil"
    if local.exists():
        return local
    on_path = shutil.which("anvil")
    return Path(on_path) if on_path else None


async def install_packages(folder: Path) -> None:
    """Install the run-time packages of ``folder/package-lock.json``; others wait their turn.

    Raises:
        NodeError: If npm is missing or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        message = f"npm is needed to install the packages of {folder}: install Node.js >= 20"
        raise NodeError(message)
    with (folder / ".install.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if (folder / "node_modules" / ".package-lock.json").exists():
            return
        # Not `npm ci`: it refuses a lock file without the other platforms' optional packages, and
        # only a registry that has them all can write one with them.
        process = await asyncio.create_subprocess_exec(
            npm, "install", "--no-save", "--omit=dev", "--ignore-scripts", "--no-audit",
            "--no-fund",
            cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), INSTALL_TIMEOUT_S)
    if process.returncode != 0:
        message = f"npm install failed in {folder}:\n{output.decode(errors='replace')[-2000:]}"
        raise NodeError(message)


async def ensure_anvil() -> Path:
    """Return an Anvil that runs here, installing it from npm if need be.

    Raises:
        NodeError: If it cannot be had on this machine.
    """
    found = find_anvil()
    if found is None:
        await install_packages(HERE)
        found = find_anvil()
    if found is None:
        message = f"Anvil's package has no binary for {platform.system()} {platform.machine()}"
        raise NodeError(message)
    return found


@contextlib.asynccontextmanager
async def run_anvil(
    port: int, host: str = "127.0.0.1", arguments: Sequence[str] = ()
) -> AsyncIterator[str]:
    """Yield the URL of a fresh Anvil (chain 31337, the ten well-known accounts).

    Args:
        port: Where it listens; must be free.
        host: Address to listen on.
        arguments: More of Anvil's own command line.

    Raises:
        NodeError: If it ends or stays silent instead of answering.
    """
    anvil = await ensure_anvil()
    command = [str(anvil), "--host", host, "--port", str(port), "--silent", *arguments]
    async with run_node(command, f"http://127.0.0.1:{port}") as url:
        yield url


@contextlib.asynccontextmanager
async def run_node(command: Sequence[str], url: str, cwd: Path | None = None) -> AsyncIterator[str]:
    """Run ``command`` until the block ends, yielding ``url`` once a node answers there.

    Raises:
        NodeError: If its port is taken, or it ends or stays silent instead of answering.
    """
    _refuse_taken_port(url)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await _wait_until_answering(process, url)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()


def _refuse_taken_port(url: str) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", urlsplit(url).port or 80)) == 0:
            message = f"something listens at {url} already: set CHAIN_PORT, or CHAIN_RPC to use it"
            raise NodeError(message)


async def _wait_until_answering(process: asyncio.subprocess.Process, url: str) -> None:
    async def poll() -> None:
        async with Rpc(url) as rpc:
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError, RpcError):
                    await rpc.call("eth_chainId")
                    return
                await asyncio.sleep(0.05)

    try:
        await asyncio.wait_for(poll(), START_TIMEOUT_S)
    except TimeoutError:
        message = f"the node at {url} did not answer within {START_TIMEOUT_S:.0f} s"
        raise NodeError(message) from None
    if process.returncode is not None:
        message = f"the node for {url} ended with code {process.returncode}"
        raise NodeError(message)


def anvil_arguments(block_time_s: float, state: Path | None) -> list[str]:
    """Return Anvil's arguments for a chain that mines by the clock and may outlive restarts."""
    arguments = ["--block-time", f"{block_time_s:g}"]
    if state is not None:
        state.parent.mkdir(parents=True, exist_ok=True)
        keep_first_genesis(state)
        arguments += ["--state", str(state), "--state-interval", "30"]
    return arguments


def keep_first_genesis(state: Path) -> None:
    """Take out of Anvil's state file the blocks 0 that later starts have added.

    Anvil 1.7.1 makes a new block 0 at every start, stores it beside the loaded ones, and shows
    any of them as block 0 the time after: the chain would seem to be another one.

    Raises:
        NodeError: If the file cannot be read.
    """
    if not state.exists():
        return
    try:
        content = json.loads(state.read_bytes())
        first = [block for block in content["blocks"] if int(block["header"]["number"], 16) == 0]
        later = [block for block in content["blocks"] if int(block["header"]["number"], 16) > 0]
        first.sort(key=lambda block: int(block["header"]["timestamp"], 16))
    except (ValueError, KeyError, TypeError) as error:
        message = f"{state} is no state of Anvil's ({error}): delete it to start a new chain"
        raise NodeError(message) from error
    if len(first) > 1:
        content["blocks"] = first[:1] + later
        draft = state.with_suffix(".new")
        draft.write_text(json.dumps(content))
        draft.replace(state)
