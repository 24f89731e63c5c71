# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What a symbol's name and numbers tell: its two assets, and how finely it is quoted. Pure."""

import msgspec

# Assets that others are priced in on Binance, longer names first, so that BTCFDUSD is not in USD.
QUOTE_ASSETS = (
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD1", "BIDR", "IDRT", "BVND", "USDP", "USDS",
    "BTC", "ETH", "BNB", "DAI", "EUR", "TRY", "BRL", "GBP", "AUD", "RUB", "UAH", "NGN", "ZAR",
    "PLN", "RON", "ARS", "JPY", "MXN", "COP", "CZK", "IDR", "VAI", "XRP", "TRX", "DOGE", "DOT",
    "PAX", "SOL", "USD",
)  # fmt: skip


class Precision(msgspec.Struct, frozen=True):
    """How many decimals prices and amounts have."""

    price: int
    quantity: int


def split_symbol(name: str) -> tuple[str, str]:
    """Return base and quote asset: ``BTC`` and ``USDT``; no quote if it is not a known one."""
    for quote in QUOTE_ASSETS:
        if name.endswith(quote) and name != quote:
            return name.removesuffix(quote), quote
    return name, ""
