# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the REST endpoints answer: a table of endpoints, each a function of its parameters."""

import json
from collections.abc import Callable

import msgspec

from simulator import wire
from simulator.answers import RefusalError, invalid_symbol
from simulator.exchange import Exchange, Listing
from simulator.history import find_klines
from simulator.params import Params
from simulator.symbols import ORIGIN_MS, Symbol
from simulator.weights import depth_weight

MAX_ROWS = 1_000
DEFAULT_ROWS = 500
MAX_DEPTH = 5_000
DEFAULT_DEPTH = 100
FUTURE_MS = 10_000  # times further ahead are clamped
RAW_REQUESTS_PER_5M = 300_000


class Call(msgspec.Struct, frozen=True):
    """One request, as an endpoint sees it."""

    exchange: Exchange
    params: Params
    in_microseconds: bool

    @property
    def now_ms(self) -> int:
        """The moment that REST market data shows: the exchange's time, or behind it."""
        return self.exchange.now_ms() - self.exchange.switches.rest_lag_ms

    def listing(self) -> Listing:
        """Return the asked symbol's listing; refuse unknown ones."""
        listing = self.exchange.listings.get(self.params.symbol())
        if listing is None:
            raise invalid_symbol()
        return listing

    def time(self, name: str) -> int | None:
        """Return a time parameter in ms, clamped to what can be."""
        value = self.params.time_ms(name)
        if value is None:
            return None
        return max(ORIGIN_MS, min(value, self.exchange.now_ms() + FUTURE_MS))


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint.

    Attributes:
        answer: Returns the JSON of its answer.
        weight: Returns its request weight for given query values.
        params: The parameters that it knows.
    """

    answer: Callable[[Call], str]
    weight: Callable[[dict[str, str]], int]
    params: tuple[str, ...] = ()


def _ping(_: Call) -> str:
    return "{}"


def _time(call: Call) -> str:
    scale = 1_000 if call.in_microseconds else 1
    return f'{{"serverTime":{call.exchange.now_ms() * scale}}}'


def _klines(call: Call) -> str:
    params = call.params
    listing = call.listing()
    interval = params.interval()
    start_ms, end_ms = call.time("startTime"), call.time("endTime")
    limit, zone_ms = params.limit(DEFAULT_ROWS, MAX_ROWS), params.zone_ms()
    params.check_all_read()
    rows = find_klines(listing.market, interval, start_ms, end_ms, limit, call.now_ms, zone_ms)
    return wire.kline_rows(listing.market.symbol, rows, in_microseconds=call.in_microseconds)


def _depth(call: Call) -> str:
    listing = call.listing()
    limit = call.params.limit(DEFAULT_DEPTH, MAX_DEPTH)
    wanted_status = call.params.text("symbolStatus")
    call.params.check_all_read()
    if wanted_status and wanted_status != listing.market.status:
        raise RefusalError(-1220, "The symbol's status does not match the requested symbolStatus.")
    book = listing.book.book(call.now_ms, limit)
    if book is None:
        return '{"lastUpdateId":0,"bids":[],"asks":[]}'
    return wire.partial_book(listing.market.symbol, book)


def _aggregate_trades(call: Call) -> str:
    params = call.params
    market = call.listing().market
    limit = params.limit(DEFAULT_ROWS, MAX_ROWS)
    first_id = params.number("fromId")
    start_ms, end_ms = call.time("startTime"), call.time("endTime")
    params.check_all_read()
    seen_until_ms = call.now_ms + 1
    if first_id is not None and (start_ms is not None or end_ms is not None):
        raise RefusalError(-1128, "Combination of optional parameters invalid.")
    if end_ms is not None:
        seen_until_ms = min(seen_until_ms, end_ms + 1)
    if start_ms is not None:
        first_id = market.first_id_from(max(start_ms, market.listed_ms))
    if first_id is None:
        trades = market.last_trades(limit, seen_until_ms)
    else:
        trades = market.trades_from_id(first_id, limit, seen_until_ms)
    return wire.aggregate_trade_rows(market.symbol, trades, in_microseconds=call.in_microseconds)


def _trades(call: Call) -> str:
    market = call.listing().market
    limit = call.params.limit(DEFAULT_ROWS, MAX_ROWS)
    call.params.check_all_read()
    trades = market.last_trades(limit, call.now_ms + 1)
    return wire.trade_rows(market.symbol, trades, in_microseconds=call.in_microseconds)


def _ticker_price(call: Call) -> str:
    params = call.params
    names = params.symbols()
    if names is not None and params.has("symbol"):
        raise RefusalError(-1128, "Combination of optional parameters invalid.")
    listings = [call.listing()] if params.has("symbol") else _listings(call, names)
    params.check_all_read()
    rows = []
    for listing in listings:
        symbol = listing.market.symbol
        price = listing.market.price_before(call.now_ms + 1)
        text = wire.decimal_text(price, symbol.price_decimals)
        rows.append(f'{{"symbol":"{symbol.name}","price":"{text}"}}')
    return rows[0] if params.has("symbol") else "[" + ",".join(rows) + "]"


def _exchange_info(call: Call) -> str:
    params = call.params
    names = params.symbols()
    if names is not None and params.has("symbol"):
        raise RefusalError(-1128, "Combination of optional parameters invalid.")
    listings = [call.listing()] if params.has("symbol") else _listings(call, names)
    status = params.text("symbolStatus")
    with_sets = params.text("showPermissionSets") != "false"
    params.check_all_read()
    limit = call.exchange.switches.weight_limit
    info = {
        "timezone": "UTC",
        "serverTime": call.exchange.now_ms() * (1_000 if call.in_microseconds else 1),
        "rateLimits": [
            _rate_limit("REQUEST_WEIGHT", "MINUTE", 1, limit),
            _rate_limit("ORDERS", "SECOND", 10, 100),
            _rate_limit("ORDERS", "DAY", 1, 200_000),
            _rate_limit("RAW_REQUESTS", "MINUTE", 5, RAW_REQUESTS_PER_5M),
        ],
        "exchangeFilters": [],
        "symbols": [
            _symbol_info(listing.market.symbol, listing.market.status, with_sets=with_sets)
            for listing in listings
            if status is None or listing.market.status == status
        ],
    }
    return json.dumps(info, separators=(",", ":"))


def _listings(call: Call, names: list[str] | None) -> list[Listing]:
    listings = call.exchange.listings
    if names is None:
        return list(listings.values())
    if any(name not in listings for name in names):
        raise invalid_symbol()
    return [listings[name] for name in names]


def _rate_limit(kind: str, interval: str, number: int, limit: int) -> dict[str, object]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _symbol_info(symbol: Symbol, status: str, *, with_sets: bool) -> dict[str, object]:
    tick = wire.decimal_text(1, symbol.price_decimals)
    step = wire.decimal_text(1, symbol.lot_decimals)
    info: dict[str, object] = {
        "symbol": symbol.name,
        "status": status,
        "baseAsset": symbol.base,
        "baseAssetPrecision": 8,
        "quoteAsset": symbol.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": wire.decimal_text(symbol.base_ticks * 100, symbol.price_decimals),
                "tickSize": tick,
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": step,
                "maxQty": wire.decimal_text(symbol.mean_lots * 1_000_000, symbol.lot_decimals),
                "stepSize": step,
            },
        ],
        "permissions": [],
    }
    if with_sets:
        info["permissionSets"] = [["SPOT"]]
    return info


def _fixed(weight: int) -> Callable[[dict[str, str]], int]:
    return lambda _: weight


def _depth_weight(query: dict[str, str]) -> int:
    limit = query.get("limit", "")
    return depth_weight(int(limit) if limit.isascii() and limit.isdigit() else DEFAULT_DEPTH)


def _one_or_many(one: int, many: int) -> Callable[[dict[str, str]], int]:
    return lambda query: one if "symbol" in query else many


_KLINE_PARAMS = ("symbol", "interval", "startTime", "endTime", "timeZone", "limit")
_INFO_PARAMS = ("symbol", "symbols", "permissions", "symbolStatus", "showPermissionSets")
ENDPOINTS: dict[str, Endpoint] = {
    "/api/v3/ping": Endpoint(_ping, _fixed(1)),
    "/api/v3/time": Endpoint(_time, _fixed(1)),
    "/api/v3/exchangeInfo": Endpoint(_exchange_info, _fixed(20), _INFO_PARAMS),
    "/api/v3/klines": Endpoint(_klines, _fixed(2), _KLINE_PARAMS),
    "/api/v3/uiKlines": Endpoint(_klines, _fixed(2), _KLINE_PARAMS),
    "/api/v3/depth": Endpoint(_depth, _depth_weight, ("symbol", "limit", "symbolStatus")),
    "/api/v3/aggTrades": Endpoint(
        _aggregate_trades, _fixed(4), ("symbol", "fromId", "startTime", "endTime", "limit")
    ),
    "/api/v3/trades": Endpoint(_trades, _fixed(25), ("symbol", "limit")),
    "/api/v3/ticker/price": Endpoint(_ticker_price, _one_or_many(2, 4), ("symbol", "symbols")),
}


def is_heavy(path: str, query: dict[str, str]) -> bool:
    """Return whether a request may compute for long and belongs into a thread."""
    return path.endswith("lines") and query.get("interval", "1m")[-1:] in "hdwM"
