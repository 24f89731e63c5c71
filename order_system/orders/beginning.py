# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Where a scan begins: at the contract's deployment, or where the settings say."""

import structlog

from linkora.errors import TransientError
from orders.chain.blocks import ChainIdentity, is_local
from orders.chain.faults import NodeBehind, StateUnavailable
from orders.ports import Chain, Checkpoints, Limits

log = structlog.get_logger(__name__)


async def begin(chain: Chain, checkpoints: Checkpoints, limits: Limits) -> None:
    """Write the first checkpoint: the block before the one that the scan begins with.

    Raises:
        TransientError: If the chain or the database is away, or the block cannot be found.
    """
    identity = await chain.identity()
    chain.expect(identity)
    tip = await chain.tip()
    head, start = tip.head.number, limits.start_block
    if start is None:
        try:
            start = await _find_deployment(chain, identity, head)
        except NodeBehind:
            chain.distrust(tip.source)  # perhaps there are no such blocks at all
            raise
    base = max(0, start - 1)
    header = (await chain.headers([base])).get(base)
    if header is None:
        raise TransientError(f"START_BLOCK {start} is beyond the head {head}")
    first = await _first_ids(chain, limits, base)
    await checkpoints.create(identity, limits.contract, header, first)
    log.info("scan_begun", start_block=base + 1, chain_id=identity.chain_id)


async def _find_deployment(chain: Chain, identity: ChainIdentity, head: int) -> int:
    try:
        return await chain.deployment_block(head)
    except StateUnavailable as error:
        if is_local(identity.chain_id):
            return 0  # a chain that was kept over a restart, and short enough to read it all
        raise TransientError(
            f"no provider has the old state in which the deployment could be found: "
            f"set START_BLOCK ({error})"
        ) from error


async def _first_ids(chain: Chain, limits: Limits, base: int) -> tuple[int | None, int | None]:
    """Return the ids that the scan begins with; both count from 1 where it begins with all."""
    if limits.start_block is None:
        return 1, 1
    try:
        return await chain.next_ids(base)
    except StateUnavailable:
        log.warning("ids_not_provable", reason="no provider has the state before START_BLOCK")
        return None, None
