# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Binance's candle widths, as timeframes. Pure."""

from linkora.timeframes import DAY_MS, HOUR_MS, TIMEFRAMES, Timeframe

# Four widths that only Binance has; ``table`` is that of the candles which they are made of.
WIDER = {
    "6h": Timeframe("6H", TIMEFRAMES["3H"].table, 6 * HOUR_MS, "1H"),
    "8h": Timeframe("8H", TIMEFRAMES["4H"].table, 8 * HOUR_MS, "1H"),
    "12h": Timeframe("12H", TIMEFRAMES["4H"].table, 12 * HOUR_MS, "1H"),
    "3d": Timeframe("3D", TIMEFRAMES["1D"].table, 3 * DAY_MS, "1D"),
}
# All of Binance's except ``1s``, which cannot be had from one-minute candles.
INTERVALS = {
    **{f"{n}m": TIMEFRAMES[str(n)] for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": TIMEFRAMES[f"{n}H"] for n in (1, 2, 4)},
    "1d": TIMEFRAMES["1D"],
    "1w": TIMEFRAMES["1W"],
    "1M": TIMEFRAMES["1M"],
    **WIDER,
}
INTERVAL_OF = {frame.name: name for name, frame in INTERVALS.items()}
