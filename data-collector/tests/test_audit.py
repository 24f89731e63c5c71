# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from decimal import Decimal

from collector.audit import differing
from collector.binance.forms import KlineRow
from collector.ports import Day

DAY = 86_400_000


def told(day: int, trades: int, volume: str) -> KlineRow:
    return KlineRow(
        day * DAY, "1", "1", "1", "1", volume, (day + 1) * DAY - 1, "1", trades, "0", "0"
    )


def test_a_day_differs_if_its_trades_or_its_volume_do_or_if_we_have_none_of_it():
    rows = [told(0, 5, "1.50000000"), told(1, 5, "2"), told(2, 6, "2"), told(3, 1, "1")]
    stored = [Day(0, 5, Decimal("1.5")), Day(DAY, 5, Decimal("2.1")), Day(2 * DAY, 5, Decimal(2))]
    assert [day.open_ms // DAY for day in differing(rows, stored)] == [1, 2, 3]
