# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""When a trouble is worth waking somebody, and when it is over: rules without a clock."""

from collections.abc import Mapping
from typing import Literal

import msgspec

RUNBOOK = "docs/operations.md"
# Neighbours of several services: who sees them go first speaks for all.
SHARED = frozenset({"database", "redis"})


class Trouble(msgspec.Struct, frozen=True):
    """Something that is wrong now.

    Attributes:
        summary: One sentence for people.
        anchor: Its paragraph in the runbook.
    """

    summary: str
    anchor: str


class Notice(msgspec.Struct, frozen=True):
    """What to tell.

    Attributes:
        key: The same for the same trouble in every process.
        status: ``firing`` at the first time and again every so often, ``resolved`` once.
        since_s: When the trouble began, on the clock of ``AlertBook.judge``.
    """

    key: str
    status: Literal["firing", "resolved"]
    trouble: Trouble
    since_s: float


class _Known(msgspec.Struct):
    trouble: Trouble
    since_s: float
    seen_s: float
    told_s: float | None = None


class AlertBook:
    """Remembers troubles, so that short ones stay untold and long ones are told once.

    Args:
        after_s: How long a trouble lasts before it is told.
        calm_s: How long it must be gone before it counts as over.
        repeat_s: After this time a trouble that goes on is told again.
    """

    def __init__(self, after_s: float, calm_s: float, repeat_s: float) -> None:
        self._after_s = after_s
        self._calm_s = calm_s
        self._repeat_s = repeat_s
        self._known: dict[str, _Known] = {}

    def judge(self, troubles: Mapping[str, Trouble], now_s: float) -> list[Notice]:
        """Return what is to be told now, given everything that is wrong now."""
        notices = []
        for key, trouble in troubles.items():
            known = self._known.setdefault(key, _Known(trouble, now_s, now_s))
            known.trouble, known.seen_s = trouble, now_s
            is_due = known.told_s is None or now_s - known.told_s >= self._repeat_s
            if is_due and now_s - known.since_s >= self._after_s:
                known.told_s = now_s
                notices.append(Notice(key, "firing", trouble, known.since_s))
        for key, known in list(self._known.items()):
            if key not in troubles and now_s - known.seen_s >= self._calm_s:
                del self._known[key]
                if known.told_s is not None:
                    notices.append(Notice(key, "resolved", known.trouble, known.since_s))
        return notices


def troubles_of(
    service: str, down: Mapping[str, str], silent: Mapping[str, int], now_ms: int
) -> dict[str, Trouble]:
    """Return what is wrong, by key.

    Args:
        service: Who looks.
        down: Components that are away, with the reason.
        silent: Services that stopped writing figures, with their last word in Unix ms.
        now_ms: Unix ms.
    """
    found = {}
    for name, reason in down.items():
        key = name if name in SHARED else f"{service}:{name}"
        who = name if name in SHARED else f"{name} of {service}"
        found[key] = Trouble(f"{who} is away: {reason}", f"{name.replace('_', '-')}-away")
    for name, last_ms in silent.items():
        minutes = (now_ms - last_ms) // 60_000
        found[f"silent:{name}"] = Trouble(
            f"{name} has said nothing for {minutes} minutes", "service-silent"
        )
    return found


def message(notice: Notice, seen_by: str, now_s: float) -> dict[str, str | int]:
    """Return the webhook's body: ``text`` as Slack and Telegram want it, and the parts of it."""
    lasted_s = round(now_s - notice.since_s)
    state = "FIRING" if notice.status == "firing" else "RESOLVED"
    place = f"{RUNBOOK}#{notice.trouble.anchor}"
    text = f"{state} Linkora: {notice.trouble.summary} ({lasted_s} s, seen by {seen_by}; {place})"
    return {
        "text": text,
        "status": notice.status,
        "alert": notice.key,
        "seen_by": seen_by,
        "lasted_s": lasted_s,
        "runbook": place,
    }
