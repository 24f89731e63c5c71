# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The contracts of the local chain: deploying them and sending them transactions."""

from typing import Any

from eth_utils.crypto import keccak

from localchain.artifacts import Artifact, load_artifact
from localchain.rpc import Rpc

FIRST_ACCOUNT = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
TRADING_ADDRESS = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
"""Address of what the first account deploys with its first transaction: the same on every chain
of these accounts (keccak of the sender and nonce 0), so it can be a default in settings."""
ETH = "0x" + "00" * 20
GAS = hex(15_000_000)


class DeploymentError(Exception):
    """A transaction failed or the contract is not where it should be."""


class Contract:
    """A deployed contract; accounts of the node sign, so only a development node will do."""

    def __init__(self, rpc: Rpc, address: str, artifact: Artifact) -> None:
        self.rpc = rpc
        self.address = address.lower()
        self.artifact = artifact

    def transaction(self, function: str, *arguments: Any, sender: str = FIRST_ACCOUNT) -> Any:
        """Return the transaction object of a call, for ``eth_sendTransaction``."""
        data = self.artifact.calldata(function, *arguments)
        return {"from": sender, "to": self.address, "gas": GAS, "data": data}

    async def send(self, function: str, *arguments: Any, sender: str = FIRST_ACCOUNT) -> str:
        """Send a call and return its transaction's hash, mined or not.

        Raises:
            RpcError: If the node refuses it.
        """
        transaction = self.transaction(function, *arguments, sender=sender)
        sent: str = await self.rpc.call("eth_sendTransaction", transaction)
        return sent

    async def read(self, function: str, *arguments: Any) -> bytes:
        """Return the raw answer of a view function at the latest block."""
        data = self.artifact.calldata(function, *arguments)
        call = {"to": self.address, "data": data}
        answer: str = await self.rpc.call("eth_call", call, "latest")
        return bytes.fromhex(answer[2:])

    async def read_int(self, function: str, *arguments: Any) -> int:
        """Return a view function's answer as an unsigned integer."""
        return int.from_bytes(await self.read(function, *arguments), "big")


async def deploy(rpc: Rpc, contract: str, *arguments: Any) -> Contract:
    """Deploy ``artifacts/<contract>.json`` from the first account and wait for its block.

    Raises:
        DeploymentError: If the transaction is mined and failed.
    """
    artifact = load_artifact(contract)
    transaction = {"from": FIRST_ACCOUNT, "gas": GAS, "data": artifact.deployment(*arguments)}
    tx_hash = await rpc.call("eth_sendTransaction", transaction)
    receipt = await rpc.call("eth_getTransactionReceipt", tx_hash)
    while receipt is None:
        await rpc.call("evm_mine")
        receipt = await rpc.call("eth_getTransactionReceipt", tx_hash)
    if int(receipt["status"], 16) != 1:
        message = f"the deployment of {contract} failed in transaction {tx_hash}"
        raise DeploymentError(message)
    return Contract(rpc, receipt["contractAddress"], artifact)


async def deploy_trading(rpc: Rpc, contract: str = "Trading") -> Contract:
    """Deploy the Trading contract at its known address, or find it there.

    Raises:
        DeploymentError: If the first account has been used for something else.
    """
    code = await rpc.call("eth_getCode", TRADING_ADDRESS, "latest")
    if code != "0x":
        return Contract(rpc, TRADING_ADDRESS, load_artifact(contract))
    trading = await deploy(rpc, contract)
    if trading.address != TRADING_ADDRESS:
        message = f"deployed at {trading.address}, not at {TRADING_ADDRESS}: start a new chain"
        raise DeploymentError(message)
    return trading


TOKENS = (("CAPY", 6), ("AXOL", 6), ("QUOK", 8), ("PANG", 18), ("NARW", 18), ("WHOLE", 0))


def contract_address(sender: str, nonce: int) -> str:
    """Return the address that a CREATE transaction gives: keccak(rlp([sender, nonce]))[12:].

    Args:
        sender: The deploying account.
        nonce: 1 to 127, where the RLP form has fixed places.
    """
    return "0x" + keccak(b"\xd6\x94" + bytes.fromhex(sender[2:]) + bytes([nonce]))[12:].hex()


TOKEN_ADDRESSES = {
    symbol: contract_address(FIRST_ACCOUNT, number)
    for number, (symbol, _) in enumerate(TOKENS, start=1)
}


async def deploy_tokens(rpc: Rpc) -> dict[str, tuple[str, int]]:
    """Return address and decimals of every demo token by symbol, deploying what is missing.

    Their addresses are as fixed as the Trading contract's: nonces 1, 2, … of the first account.
    """
    nonce = int(await rpc.call("eth_getTransactionCount", FIRST_ACCOUNT, "latest"), 16)
    tokens = {}
    for number, (symbol, decimals) in enumerate(TOKENS, start=1):
        address = TOKEN_ADDRESSES[symbol]
        if nonce <= number:
            address = (await deploy(rpc, "Token", symbol, decimals)).address
        tokens[symbol] = (address, decimals)
    return tokens
