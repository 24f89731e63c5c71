# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which symbols are collected: those wanted that the exchange trades. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from collector.binance.forms import SymbolInfo

TRADING = "TRADING"
_ALL_OF = "ALL:"


class Choice(msgspec.Struct, frozen=True):
    """The outcome for the wanted symbols.

    Attributes:
        collected: Symbols that trade now, in the order in which they were wanted.
        refused: Symbol and the reason why it cannot be collected live.
    """

    collected: tuple[str, ...]
    refused: dict[str, str]


def choose(wanted: Sequence[str], listed: Iterable[SymbolInfo]) -> Choice:
    """Return which of the ``wanted`` symbols can be collected.

    ``ALL:USDT`` among them stands for every pair that trades in USDT, in the exchange's order.
    """
    infos = {info.symbol: info for info in listed}
    names: dict[str, None] = {}
    for want in wanted:
        if want.startswith(_ALL_OF):
            quote = want.removeprefix(_ALL_OF)
            names |= {
                info.symbol: None
                for info in infos.values()
                if info.quoteAsset == quote and info.status == TRADING
            }
        else:
            names[want] = None
    refused = {}
    for name in names:
        if name not in infos:
            refused[name] = "the exchange does not know it"
        elif infos[name].status != TRADING:
            refused[name] = f"it does not trade now ({infos[name].status})"
    return Choice(
        collected=tuple(name for name in names if name not in refused),
        refused=refused,
    )
