# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Chains for tests: a real node on a free port with the contract on it, and short calls."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from localchain.node import HERE, free_port, install_packages, run_anvil, run_node
from localchain.rpc import Rpc
from localchain.trading import ETH, FIRST_ACCOUNT, TRADING_ADDRESS, Contract, deploy, deploy_trading

USERS = (
    "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
    "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
    "0x90f79bf6eb2c4f870365e785982e1f101e93b906",
)

MINED_WITHIN_S = 10.0


class TransactionFailed(Exception):  # noqa: N818 - an outcome, not a bug
    """The transaction is in a block and did nothing but cost gas."""


class Chain:
    """A running chain: ``rpc_url``, the contract's address, and what tests do with them.

    Every call is mined at once in a block of its own unless it is made within `one_block`.

    Attributes:
        can_reorg: Whether the node knows `reorg`; all know `revert`.
    """

    def __init__(self, rpc: Rpc, trading: Contract, *, can_reorg: bool = True) -> None:
        self.can_reorg = can_reorg
        self.rpc = rpc
        self.rpc_url = rpc.url
        self.ws_url = rpc.url.replace("http", "ws", 1)
        self.trading = trading
        self.address = trading.address
        self.users = USERS
        self._is_automining = True

    async def send(self, function: str, *arguments: Any, sender: str = FIRST_ACCOUNT) -> str:
        """Send any call of the contract and return its transaction's hash.

        Raises:
            TransactionFailed: If it is mined (so not within `one_block`) and reverted.
        """
        tx_hash = await self.trading.send(function, *arguments, sender=sender)
        if self._is_automining:
            receipt = await self._receipt(tx_hash)
            if int(receipt["status"], 16) != 1:
                raise TransactionFailed(function)
        return tx_hash

    async def _receipt(self, tx_hash: str) -> dict[str, Any]:
        async with asyncio.timeout(MINED_WITHIN_S):
            while True:  # Anvil answers before it has mined
                receipt: dict[str, Any] | None = await self.rpc.call(
                    "eth_getTransactionReceipt", tx_hash
                )
                if receipt is not None:
                    return receipt
                await asyncio.sleep(0.002)

    async def create(
        self,
        user: str = USERS[0],
        token_in: str = ETH,
        token_out: str = ETH,
        amount_in: int = 10**18,
        target_price: int = 2 * 10**18,
        min_amount_out: int = 10**17,
        is_long: bool = False,
    ) -> int:
        """Create a limit order and return its id (as it will be, within `one_block`)."""
        order_id = await self.trading.read_int("nextOrderId")
        await self.send(
            "createLimitOrder",
            user, token_in, token_out, amount_in, target_price, min_amount_out, is_long,
        )  # fmt: skip
        return order_id

    async def create_stop(self, user: str = USERS[0], amount_in: int = 10**18) -> int:
        """Create a stop-loss order and return its id."""
        order_id = await self.trading.read_int("nextOrderId")
        await self.send("createStopLossOrder", user, ETH, ETH, amount_in, 10**18, 10**17)
        return order_id

    async def modify(self, order_id: int, price: int, least: int, user: str = USERS[0]) -> str:
        """Change an order's target price and least amount out."""
        return await self.send("modifyOrder", user, order_id, price, least)

    async def execute(self, order_id: int, sender: str = USERS[2]) -> str:
        """Execute an order as ``sender``."""
        return await self.send("executeOrder", order_id, sender=sender)

    async def cancel(self, order_id: int, user: str = USERS[0]) -> str:
        """Cancel an order; ``user=ETH`` cancels one that does not exist yet."""
        return await self.send("cancelOrder", user, order_id)

    async def head(self) -> int:
        """Return the newest block's number."""
        return int(await self.rpc.call("eth_blockNumber"), 16)

    async def mine(self, blocks: int = 1) -> None:
        """Mine empty blocks (Anvil and Hardhat know each other's names for it)."""
        method = "hardhat_mine" if blocks > 1 else "evm_mine"
        await self.rpc.call(method, *([hex(blocks)] if blocks > 1 else []))

    async def reorg(self, depth: int) -> None:
        """Replace the newest ``depth`` blocks by as many empty ones (Anvil only)."""
        await self.rpc.call("anvil_reorg", depth, [])

    async def snapshot(self) -> str:
        """Return a handle to the chain as it is, for `revert`."""
        handle: str = await self.rpc.call("evm_snapshot")
        return handle

    async def revert(self, handle: str) -> None:
        """Go back to a snapshot: the head becomes lower."""
        await self.rpc.call("evm_revert", handle)

    @contextlib.asynccontextmanager
    async def one_block(self) -> AsyncIterator[None]:
        """Put every transaction sent within the block of code into one block of the chain."""
        await self.rpc.call("evm_setAutomine", False)
        self._is_automining = False
        try:
            yield
        finally:
            await self.rpc.call("evm_mine")
            await self.rpc.call("evm_setAutomine", True)
            self._is_automining = True

    async def deploy(self, contract: str, *arguments: Any) -> str:
        """Deploy another contract (a token, say) and return its address."""
        return (await deploy(self.rpc, contract, *arguments)).address


@contextlib.asynccontextmanager
async def anvil_chain(
    contract: str = "TradingLab", arguments: Sequence[str] = ()
) -> AsyncIterator[Chain]:
    """Yield a fresh Anvil with the contract at its known address (block 1).

    Raises:
        NodeError: If Anvil cannot be installed or started.
    """
    async with run_anvil(free_port(), arguments=arguments) as url, Rpc(url) as rpc:
        yield Chain(rpc, await deploy_trading(rpc, contract))


@contextlib.asynccontextmanager
async def hardhat_chain(contract: str = "TradingLab") -> AsyncIterator[Chain]:
    """Yield a fresh Hardhat node (installed on first use) with the contract on it.

    Raises:
        NodeError: If Hardhat cannot be installed or started.
    """
    folder = HERE / "hardhat"
    await install_packages(folder)
    port = free_port()
    command = [
        "node", "node_modules/hardhat/internal/cli/cli.js", "node",
        "--hostname", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    async with run_node(command, f"http://127.0.0.1:{port}", folder) as url, Rpc(url) as rpc:
        yield Chain(rpc, await deploy_trading(rpc, contract), can_reorg=False)


__all__ = ["TRADING_ADDRESS", "USERS", "Chain", "TransactionFailed", "anvil_chain", "hardhat_chain"]
