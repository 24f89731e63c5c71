# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The traded symbols: their precision, their price level and how busy they are."""

import msgspec

ORIGIN_MS = 1_483_228_800_000  # 2017-01-01, the first moment of this exchange


class Symbol(msgspec.Struct, frozen=True):
    """A spot symbol.

    Prices are whole ticks of 10**-price_decimals, amounts whole lots of 10**-lot_decimals, and so
    quote amounts whole units of 10**-(price_decimals + lot_decimals); the sum never exceeds 8,
    the decimals of the exchange's strings.

    Attributes:
        name: Such as ``BTCUSDT``.
        base: Base asset.
        quote: Quote asset.
        price_decimals: Decimals of a tick.
        lot_decimals: Decimals of a lot.
        base_ticks: The price, in ticks, that the market swings around.
        volatility: Size of a one-minute move, as a fraction of the price.
        trades_per_minute: Mean number of trades; a minute has from none to almost four times it.
        mean_lots: Mean size of a trade in lots.
    """

    name: str
    base: str
    quote: str
    price_decimals: int
    lot_decimals: int
    base_ticks: int
    volatility: float
    trades_per_minute: int
    mean_lots: int

    @property
    def quote_decimals(self) -> int:
        """Decimals of a quote amount."""
        return self.price_decimals + self.lot_decimals


KNOWN_SYMBOLS: dict[str, Symbol] = {
    symbol.name: symbol
    for symbol in (
        Symbol("BTCUSDT", "BTC", "USDT", 2, 5, 6_500_000, 0.0004, 48, 1_500),
        Symbol("ETHUSDT", "ETH", "USDT", 2, 4, 340_000, 0.0005, 40, 2_500),
        Symbol("BNBUSDT", "BNB", "USDT", 2, 3, 62_000, 0.0005, 24, 900),
        Symbol("SOLUSDT", "SOL", "USDT", 2, 3, 16_500, 0.0007, 24, 3_500),
        Symbol("XRPUSDT", "XRP", "USDT", 4, 1, 23_000, 0.0006, 24, 2_400),
        Symbol("DOGEUSDT", "DOGE", "USDT", 5, 0, 21_000, 0.0008, 16, 2_500),
        Symbol("ADAUSDT", "ADA", "USDT", 4, 1, 7_200, 0.0007, 16, 6_000),
        Symbol("LTCUSDT", "LTC", "USDT", 2, 3, 9_500, 0.0006, 12, 4_000),
        Symbol("ETHBTC", "ETH", "BTC", 5, 4, 5_200, 0.0004, 12, 2_000),
        Symbol("PEPEUSDT", "PEPE", "USDT", 8, 0, 1_200, 0.0010, 24, 150_000_000),
        Symbol("SHIBUSDT", "SHIB", "USDT", 8, 0, 2_400, 0.0010, 16, 60_000_000),
    )
}
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "PEPEUSDT")
_KNOWN_QUOTES = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "BNB", "EUR", "TRY")


def make_symbol(name: str, position: int = 0) -> Symbol:
    """Return the symbol of that name: a known one, or a small quiet market made up for it.

    Args:
        name: Upper-case symbol name.
        position: Any number; made-up symbols of different positions have different prices.
    """
    if name in KNOWN_SYMBOLS:
        return KNOWN_SYMBOLS[name]
    quote = next((q for q in _KNOWN_QUOTES if name.endswith(q) and name != q), "USDT")
    base = name.removesuffix(quote) or name
    base_ticks = 1_000 + 37 * ((position * 7919) % 2_500)
    return Symbol(name, base, quote, 3, 2, base_ticks, 0.0008, 5, 9_000_000 // base_ticks)


def list_symbols(names: tuple[str, ...], extra: int) -> dict[str, Symbol]:
    """Return the named symbols and ``extra`` made-up ones, SIM001USDT, SIM002USDT, …."""
    made_up = tuple(f"SIM{number:03d}USDT" for number in range(1, extra + 1))
    return {name: make_symbol(name, i) for i, name in enumerate((*names, *made_up))}
