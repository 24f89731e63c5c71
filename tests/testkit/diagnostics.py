# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What each diagnostic script has to say of a healthy suite and of five broken ones."""

import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

NOTICE_S = 60
# However full the disk of the machine is that tests run on.
ROOMY = {"DISK_WARNING_PERCENT": "100", "DISK_CRITICAL_PERCENT": "101"}
Run = Callable[..., tuple[int, str]]


class Verdict(msgspec.Struct, frozen=True):
    """What a script has to say.

    Attributes:
        code: 0 good, 1 warning, 2 critical.
        lines: Patterns, each of which a line has to match; spaces stand for any number of them.
    """

    code: int
    lines: tuple[str, ...] = ()


DATABASE = (
    "CRITICAL database does not answer: .+",
    r"next: \./emergency_fix\.sh starts it; .*docs/operations\.md#database-away",
)
REDIS = (
    "CRITICAL redis does not answer",
    r"next: \./emergency_fix\.sh starts it; .*docs/operations\.md#redis-away",
)
STALE = ("CRITICAL candles newest minute of the oldest of .+", r"next: .*operations\.md#candle-lag")
CHAIN = ("WARNING chain cannot be followed: .+", r"next: docs/operations\.md#chain-away")
DISK = ("CRITICAL disk .* % used, .* MB free .*", r"next: .*docs/operations\.md#disk-full")
GOOD = Verdict(0, ("summary: .* 0 warnings, 0 critical - GOOD",))

SCRIPTS = {
    "quick_check": (),
    "full_diagnostics": (),
    "emergency_fix": ("--dry-run",),
    "db_connections_check": (),
    "data_check": (),
    "api_check": (),
    "monitor_growth": (),
}

EXPECTED: dict[str, dict[str, Verdict]] = {
    "healthy": dict.fromkeys(SCRIPTS, GOOD),
    "database down": {
        **dict.fromkeys(SCRIPTS, Verdict(2, DATABASE)),
        "quick_check": Verdict(2, ("CRITICAL timescaledb (process|container) .*", *DATABASE)),
        "emergency_fix": Verdict(2, ("WOULD timescaledb is .*", DATABASE[0])),
        "api_check": Verdict(2, ("CRITICAL api-server not healthy: .*database.*",)),
    },
    "Redis down": {
        "quick_check": Verdict(2, ("CRITICAL redis (process|container) .*", *REDIS)),
        "full_diagnostics": Verdict(2, REDIS),
        "emergency_fix": Verdict(2, ("WOULD redis is .*", REDIS[0])),
        "db_connections_check": GOOD,
        "data_check": GOOD,
        "api_check": Verdict(2, ("CRITICAL api-server not healthy: .*redis.*",)),
        "monitor_growth": GOOD,
    },
    "collector stopped": {
        "quick_check": Verdict(
            2,
            (
                "CRITICAL data-collector (process|container) .*",
                "CRITICAL data-collector (does not answer at|has no address) .*",
                r"next: \./emergency_fix\.sh starts it; .*",
                *STALE,
            ),
        ),
        "full_diagnostics": Verdict(2, STALE),
        "emergency_fix": Verdict(1, ("WOULD data-collector is .*",)),
        "db_connections_check": GOOD,
        "data_check": Verdict(2, STALE),
        "api_check": GOOD,
        "monitor_growth": GOOD,
    },
    "chain down": {
        "quick_check": Verdict(1, ("WARNING order-events not healthy: .*chain.*", *CHAIN)),
        "full_diagnostics": Verdict(1, CHAIN),
        "emergency_fix": GOOD,
        "db_connections_check": GOOD,
        "data_check": Verdict(1, CHAIN),
        "api_check": GOOD,
        "monitor_growth": GOOD,
    },
    "disk nearly full": {
        "quick_check": Verdict(2, DISK),
        "full_diagnostics": Verdict(2, DISK),
        "emergency_fix": Verdict(2, DISK),
        "db_connections_check": GOOD,
        "data_check": GOOD,
        "api_check": GOOD,
        "monitor_growth": Verdict(2, DISK),
    },
}


def contradictions(state: str, check: Run, patience_s: float = NOTICE_S) -> list[str]:
    """Return what the scripts say otherwise than they should, after everybody could notice.

    Args:
        state: A key of ``EXPECTED``.
        check: Runs a script with options, returns its exit code and what it printed.
        patience_s: How long the services have to notice what is broken.
    """
    deadline = time.monotonic() + patience_s
    wrong = _contradictions(state, check, SCRIPTS)
    while wrong and time.monotonic() < deadline:
        time.sleep(1)
        wrong = _contradictions(state, check, wrong)  # the others have said the right thing
    return list(wrong.values())


def _contradictions(state: str, check: Run, names: Iterable[str]) -> dict[str, str]:
    """Return what is wrong by the script's name."""
    with ThreadPoolExecutor(len(SCRIPTS)) as pool:
        said = {name: pool.submit(check, name, *SCRIPTS[name]) for name in names}
    wrong = {}
    for name, done in said.items():
        code, text = done.result()
        wanted = EXPECTED[state][name]
        missing = [line for line in wanted.lines if not _is_said(line, text)]
        if code != wanted.code or missing:
            wrong[name] = f"{name} exited {code} (not {wanted.code}?) without {missing}:\n{text}"
    return wrong


def _is_said(pattern: str, text: str) -> bool:
    spaced = pattern.replace(" ", " +")
    return any(re.fullmatch(f" *{spaced} *", line) for line in text.splitlines())
