#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Two years of candles as a polars frame in seconds, and what a day of them looked like.

The API streams the whole range as one Parquet file. Prices are exact decimals in it.
"""

import io
import sys
import time
from datetime import UTC, datetime, timedelta

from connection import START_HINT, NotThereError, console, parser, start

try:
    import httpx
    import polars as pl
    from matplotlib.figure import Figure
except ModuleNotFoundError as missing:
    sys.exit(
        f"The library {missing.name} is not installed here:\n"
        "  pip install -c constraints.txt -r demo/research-requirements.txt"
    )

NUMBERS = ("open_price", "high_price", "low_price", "close_price", "volume", "quote_volume")
READ_TIMEOUT_S = 120.0
MONTH_OF_DAYS = 30


def load(api: str, symbol: str, timeframe: str, days: int) -> pl.DataFrame:
    """Return the candles of the last ``days`` days, prices as floats.

    Raises:
        NotThereError: If the API cannot be reached or refuses.
    """
    query = {
        "symbol": symbol,
        "timeframe": timeframe,
        "start_date": (datetime.now(UTC) - timedelta(days=days)).isoformat(),
        "format": "parquet",
    }
    began = time.perf_counter()
    try:
        answer = httpx.get(f"{api}/candles", params=query, timeout=READ_TIMEOUT_S, trust_env=False)
    except httpx.TransportError as error:
        raise NotThereError(f"{api} does not answer ({error}).\n{START_HINT}") from error
    if answer.is_error:
        raise NotThereError(f"HTTP {answer.status_code}: {answer.text[:300]}")
    frame = pl.read_parquet(io.BytesIO(answer.content)).with_columns(
        pl.col(NUMBERS).cast(pl.Float64)
    )
    size_mb = len(answer.content) / 1e6
    seconds = time.perf_counter() - began
    console.print(f"{frame.height:,} candles, {size_mb:.1f} MB of Parquet, in {seconds:.2f} s")
    return frame


def daily(frame: pl.DataFrame) -> pl.DataFrame:
    """Return one row a day: close, volume, and volatility over 30 days, a year's, in percent."""
    close = pl.col("close_price")
    return (
        frame.sort("open_time")
        .group_by_dynamic("open_time", every="1d")
        .agg(
            close.last(),
            pl.col("high_price").max(),
            pl.col("low_price").min(),
            pl.col("quote_volume").sum(),
            (close.log().diff().pow(2).sum() * 365).sqrt().alias("day_volatility"),
        )
        .with_columns(
            (
                pl.col("day_volatility").pow(2).rolling_mean(MONTH_OF_DAYS, min_samples=2).sqrt()
                * 100
            ).alias("volatility_percent")
        )
    )


def plot(days: pl.DataFrame, symbol: str, path: str) -> None:
    """Draw price, volatility and turnover into a picture file."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    price, volatility, turnover = figure.subplots(3, sharex=True, height_ratios=(3, 1, 1))
    times = days["open_time"].to_list()
    price.plot(times, days["close_price"].to_list(), linewidth=1)
    price.fill_between(times, days["low_price"].to_list(), days["high_price"].to_list(), alpha=0.2)
    price.set_title(f"{symbol}: close of the day, and its range")
    volatility.plot(times, days["volatility_percent"].to_list(), linewidth=1, color="tab:red")
    volatility.set_ylabel("volatility, %\n(30 days, annual)")
    turnover.bar(times, [value / 1e6 for value in days["quote_volume"].to_list()], width=0.8)
    turnover.set_ylabel("turnover,\nmillion")
    figure.savefig(path, dpi=120)


async def main() -> None:
    """Load, summarise, plot."""
    made = parser(__doc__.splitlines()[0] if __doc__ else "")
    made.add_argument("--symbol", default="BTCUSDT")
    made.add_argument(
        "--timeframe", default="1", help="1 is one minute: a million rows in two years"
    )
    made.add_argument("--days", type=int, default=730)
    made.add_argument("--output", default="research.png", help="the picture")
    wanted = made.parse_args()
    frame = load(wanted.api, wanted.symbol.upper(), wanted.timeframe, wanted.days)
    if frame.is_empty():
        raise NotThereError(
            f"There are no candles of {wanted.symbol} in the last {wanted.days} days."
        )
    days = daily(frame)
    shown = days.tail(5).select(
        pl.col("open_time").dt.date().alias("day"),
        "close_price",
        "quote_volume",
        "volatility_percent",
    )
    with pl.Config(tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        console.print(str(shown), markup=False, highlight=False)
    plot(days, wanted.symbol.upper(), wanted.output)
    console.print(f"{wanted.output} shows {days.height} days")


if __name__ == "__main__":
    start(main)
