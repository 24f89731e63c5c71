# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Whether the event processor is well, by what it says of itself. Pure."""

from typing import Any

import msgspec

from orders.views import iso


class ScannerState(msgspec.Struct, frozen=True):
    """What the event processor last wrote into ``system_state``."""

    status: str
    detail: str
    chain_id: int | None
    start_block: int | None
    last_block: int | None
    last_block_time_s: int | None
    head_block: int | None
    finalized_block: int | None
    discrepancies: int
    silence_s: float
    dead_letters: int
    status_seen: str = ""
    """What it said itself, where ``status`` is an operator's command that is not done yet."""
    inactive_s: float | None = None
    """Since it was last at the head; None if it never was."""


class Bounds(msgspec.Struct, frozen=True):
    """What counts as healthy.

    Attributes:
        has_chain: Whether a chain is configured at all.
        lag_blocks: The most blocks behind the head.
        silence_s: The longest time without a sign of life, and without having been at the head.
        dead_letters: The most logs set aside.
    """

    has_chain: bool
    lag_blocks: int
    silence_s: float
    dead_letters: int


class Condition(msgspec.Struct, frozen=True):
    """The verdict, and the facts to show beside it."""

    is_healthy: bool
    facts: dict[str, Any]


def judge(state: ScannerState | None, bounds: Bounds) -> Condition:
    """Return whether the event processor keeps up, and what to tell of it.

    Args:
        state: What it last said; None if it has never followed a chain, which is no fault where
            no chain is configured or it has only just been started.
        bounds: What counts as healthy.
    """
    if state is None:
        name = "STARTING" if bounds.has_chain else "NOT_CONFIGURED"
        return Condition(is_healthy=True, facts={"event_processor": name})
    lag = max(0, (state.head_block or 0) - (state.last_block or 0))
    problems = []
    if {state.status, state.status_seen} & {"ERROR", "RESET"}:
        problems.append(state.detail or state.status)
    if lag > bounds.lag_blocks:
        problems.append(f"{lag} blocks behind the head")
    if bounds.has_chain and state.silence_s > bounds.silence_s:
        problems.append(f"no sign of life for {state.silence_s:.0f} s")
    elif bounds.has_chain and (state.inactive_s or 0) > bounds.silence_s:
        reason = state.detail or state.status
        problems.append(f"not at the head for {state.inactive_s:.0f} s: {reason}")
    if state.dead_letters > bounds.dead_letters:
        problems.append(f"{state.dead_letters} dead letters")
    if state.discrepancies:
        problems.append(f"{state.discrepancies} orders that the contract's state contradicts")
    return Condition(
        is_healthy=not problems,
        facts={
            "event_processor": state.status,
            "event_processor_detail": state.detail,
            "problems": problems,
            "chain_id": state.chain_id,
            "last_block": state.last_block,
            "last_block_time": state.last_block_time_s and iso(state.last_block_time_s),
            "head_block": state.head_block,
            "finalized_block": state.finalized_block,
            "lag_blocks": lag,
            "dead_letters": state.dead_letters,
            "silence_s": round(state.silence_s, 1),
        },
    )
