# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Where market data and order events come from: the world outside, or parts of our own."""

import asyncio
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping

import msgspec

from collector.settings import Settings as CollectorSettings
from localchain.node import NodeError, ensure_anvil
from localchain.trading import TRADING_ADDRESS
from localrun.settings import Exchange

PROBE_TIMEOUT_S = 5.0


class Choice(msgspec.Struct, frozen=True):
    """A decision and the reason that is shown with it."""

    is_own: bool
    reason: str


def choose_exchange(wanted: Exchange, environment: Mapping[str, str]) -> Choice:
    """Return whether to start the simulator; ``auto`` asks Binance once whether it answers."""
    if wanted != "auto":
        return Choice(wanted == "simulator", "as asked for")
    default = CollectorSettings.model_fields["binance_base_url"].default
    url = environment.get("BINANCE_BASE_URL") or default
    problem = _probe(f"{url.rstrip('/')}/api/v3/ping")
    if problem:
        return Choice(is_own=True, reason=f"{url} does not answer: {problem}")
    return Choice(is_own=False, reason=f"{url} answers")


def choose_chain(environment: Mapping[str, str], *, is_wanted: bool) -> Choice:
    """Return whether to start a local chain, after installing its node where that is needed."""
    if environment.get("WEB3_PROVIDER"):
        return Choice(is_own=False, reason="WEB3_PROVIDER is set")
    if not is_wanted:
        return Choice(is_own=False, reason="not wanted")
    if shutil.which("node") is None or shutil.which("npm") is None:
        return Choice(is_own=False, reason="Node.js with npm is not installed")
    try:
        asyncio.run(ensure_anvil())
    except NodeError as error:
        return Choice(is_own=False, reason=" ".join(str(error).split())[:300])
    return Choice(is_own=True, reason=f"contract {TRADING_ADDRESS}")


def _probe(url: str) -> str:
    """Return why ``url`` does not answer with 200, or an empty string."""
    try:
        with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S) as answer:  # noqa: S310
            return "" if answer.status == 200 else f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, ValueError) as error:
        return str(error)
