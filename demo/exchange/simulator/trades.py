# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The trades of a symbol: everything else the exchange says is made of them."""

from typing import Protocol

import msgspec
import numpy as np

from simulator.activity import MINUTE_MS, ORIGIN_MINUTE, Activity
from simulator.path import PricePath
from simulator.randomness import Floats, Int64s, UInt64s, bits, derive_key, hash_positions, uniform
from simulator.symbols import Symbol

_BUMP = 0.0004  # how far the price strays inside a minute, as a fraction of itself
_JITTER = 0.00004  # how far single trades stray
_MAX_SPREAD_TICKS = 3


class Trades(msgspec.Struct, frozen=True):
    """Trades in the order of their ids, one array per field.

    Attributes:
        ids: Trade ids.
        times_ms: Trade times, Unix ms, never falling.
        prices: Prices in ticks.
        lots: Amounts in lots.
        is_buyer_maker: Whether the seller was the taker.
        spreads: Ticks between best bid and best ask right after the trade.
    """

    ids: Int64s
    times_ms: Int64s
    prices: Int64s
    lots: Int64s
    is_buyer_maker: np.typing.NDArray[np.bool_]
    spreads: Int64s

    def __len__(self) -> int:
        return len(self.ids)

    def pick(
        self, where: "slice | np.typing.NDArray[np.bool_]", id_shift: "Int64s | int" = 0
    ) -> "Trades":
        """Return the trades at ``where``, their ids lowered by ``id_shift``."""
        return Trades(
            self.ids[where] - id_shift,
            self.times_ms[where],
            self.prices[where],
            self.lots[where],
            self.is_buyer_maker[where],
            self.spreads[where],
        )

    def between(self, start_ms: int, end_ms: int) -> "Trades":
        """Return the trades of [start, end)."""
        first, end = np.searchsorted(self.times_ms, (start_ms, end_ms))
        return self.pick(slice(int(first), int(end)))


class TradeSource(Protocol):
    """Where a market's trades come from: the generator below, or a recording."""

    def trades(self, first_minute: int, end_minute: int) -> Trades:
        """Return every trade of the Unix minutes [first, end)."""
        ...

    def total(self, minute: int) -> int:
        """Return the id that the first trade at or after ``minute`` has or would have."""
        ...

    def reference_ticks(self, minute: int) -> int:
        """Return a price in ticks for a moment that no trade precedes."""
        ...

    def revise(self, minute: int) -> None:
        """Make the trades of ``minute`` others: same number and ids, new prices and amounts."""
        ...


class GeneratedTrades:
    """Trades as a pure function of (seed, symbol, time), and of the revisions asked for."""

    def __init__(self, symbol: Symbol, seed: str, zero_trade_rate: float = 0.0) -> None:
        self._symbol = symbol
        self._key = derive_key(seed, symbol.name, "trade")
        self._minute_key = derive_key(seed, symbol.name, "shape")
        self._activity = Activity(
            derive_key(seed, symbol.name, "activity"), symbol.trades_per_minute, zero_trade_rate
        )
        self._path = PricePath(
            derive_key(seed, symbol.name, "path"), symbol.base_ticks, symbol.volatility
        )
        self._revisions: dict[int, int] = {}

    def revise(self, minute: int) -> None:
        """Redraw the minute's prices and amounts; its number of trades and their ids stay."""
        self._revisions[minute] = self._revisions.get(minute, 0) + 1

    def total(self, minute: int) -> int:
        """Return the number of trades before ``minute``."""
        return self._activity.total(minute)

    def reference_ticks(self, minute: int) -> int:
        """Return the path's price at ``minute``."""
        return int(self._path.prices(minute, minute)[0])

    def trades(self, first_minute: int, end_minute: int) -> Trades:
        """Return every trade of the Unix minutes [first, end)."""
        first_minute = max(first_minute, ORIGIN_MINUTE)
        end_minute = max(end_minute, first_minute)
        totals = self._activity.totals(first_minute, end_minute)
        counts = np.diff(totals)
        ids = np.arange(int(totals[0]), int(totals[-1]))
        owner = np.repeat(np.arange(end_minute - first_minute), counts)
        hashes = self._hashes(ids, owner, first_minute)
        place = (ids - totals[owner]) + bits(hashes, 0, 16)
        offset_ms = np.floor(place / counts[owner] * MINUTE_MS)
        mid = self._mid_prices(first_minute, end_minute, owner, offset_ms / MINUTE_MS, hashes)
        spreads = self._spreads(first_minute, end_minute)[owner]
        is_buyer_maker = (hashes >> np.uint64(16)) & np.uint64(1) == 0
        size = bits(hashes, 17, 20)
        return Trades(
            ids,
            (owner + first_minute) * MINUTE_MS + offset_ms.astype(np.int64),
            mid + np.where(is_buyer_maker, 0, spreads),
            1 + np.floor(size * size * size * (4.0 * self._symbol.mean_lots)).astype(np.int64),
            is_buyer_maker,
            spreads,
        )

    def _hashes(self, ids: Int64s, owner: Int64s, first_minute: int) -> UInt64s:
        hashes = hash_positions(ids, self._key)
        for minute, revision in self._revisions.items():
            where = owner == minute - first_minute
            if where.any():
                key = derive_key(self._key, "revision", minute, revision)
                low = hashes & np.uint64(0xFFFF)  # the times stay
                hashes = np.where(
                    where, hash_positions(ids, key) & ~np.uint64(0xFFFF) | low, hashes
                )
        return hashes

    def _mid_prices(
        self, first: int, end: int, owner: Int64s, fraction: Floats, hashes: UInt64s
    ) -> Int64s:
        """Return the best bid at each trade: a line between the minute's ends, a bump, a jitter."""
        prices = self._path.prices(first, end)
        start = prices[:-1]
        noise = uniform(np.arange(first, end), self._minute_key) * 2.0 - 1.0
        bump = (4.0 * _BUMP) * noise * start
        jitter = bits(hashes, 37, 16) - 0.5
        bump_of = bump[owner]
        mid = (np.diff(prices) + bump)[owner]
        bump_of *= fraction
        mid -= bump_of
        mid *= fraction  # (move + bump * (1 - fraction)) * fraction
        jitter *= 2.0 * _JITTER
        jitter += 1.0
        jitter *= start[owner]
        mid += jitter
        return np.maximum(mid, 1.0, out=mid).astype(np.int64)

    def _spreads(self, first: int, end: int) -> Int64s:
        draw = uniform(np.arange(first, end), derive_key(self._minute_key, "spread"))
        return 1 + np.floor(draw * draw * draw * _MAX_SPREAD_TICKS).astype(np.int64)
