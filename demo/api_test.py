#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Check every endpoint of both services, and each against the others; exit 0 if all is well."""

import time

from checks.dialects import DialectChecks
from checks.market import MarketChecks
from checks.orders import OrderChecks
from checks.probe import Check, CheckFailedError, NothingToCheckError, Probe
from checks.stream import StreamChecks
from connection import client_of, console, parser, start
from rich.markup import escape
from rich.table import Table

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130  # nothing was found wrong, but not everything was looked at


class Report:
    """The table of results, filled line by line."""

    def __init__(self) -> None:
        self.counts = {"ok": 0, "failed": 0, "n/a": 0}
        self._table = Table(title="API checks")
        for name in ("", "check", "seen"):
            self._table.add_column(name, overflow="fold")
        self._table.add_column("ms", justify="right")

    async def carry_out(self, check: Check) -> None:
        """Run one check and note how it went."""
        began = time.perf_counter()
        try:
            verdict, seen = "ok", await check.run()
        except NothingToCheckError as reason:
            verdict, seen = "n/a", str(reason)
        except CheckFailedError as error:
            verdict, seen = "failed", str(error)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            verdict, seen = "failed", f"not the documented form: {type(error).__name__} {error}"
        self.counts[verdict] += 1
        style = {"ok": "[green]ok", "failed": "[bold red]FAILED", "n/a": "[yellow]n/a"}[verdict]
        took = f"{(time.perf_counter() - began) * 1000:.0f}"
        self._table.add_row(style, check.name, escape(seen), took)

    def show(self) -> None:
        """Print the table and the sum."""
        console.print(self._table)
        told = ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items())
        console.print(told, style="bold red" if self.counts["failed"] else "bold green")


async def main() -> int:
    """Check, print, and return the exit code."""
    made = parser(__doc__ or "")
    made.add_argument("--symbol", help="the market to check; default: the first one")
    made.add_argument(
        "--only", choices=("market", "orders"), help="one of the two services; default: both"
    )
    wanted = made.parse_args()
    report = Report()
    async with client_of(wanted.api) as market, client_of(wanted.orders) as orders:
        probe = Probe(market)
        if wanted.only != "orders":
            listed = (await probe.read("/symbols"))["symbols"]
            symbol = (wanted.symbol or next(iter(listed), "BTCUSDT")).upper()
            for check in (
                *MarketChecks(probe, symbol).checks(),
                *StreamChecks(probe, symbol).checks(),
                *DialectChecks(probe, symbol).checks(),
            ):
                await report.carry_out(check)
        if wanted.only != "market":
            for check in OrderChecks(Probe(orders)).checks():
                await report.carry_out(check)
    report.show()
    return EXIT_FAILED if report.counts["failed"] else 0


if __name__ == "__main__":
    start(main, interrupted=EXIT_INTERRUPTED)
