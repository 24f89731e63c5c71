# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Reading a recorded capture of the real exchange.

A line is ``<receive time, ns> <JSON>``, the file gzipped. The JSON is a frame of a combined stream
(``<symbol>@trade``, ``@depth@100ms``, ``@bookTicker``) or, without a stream name, the answer of
``/api/v3/depth`` that the order book starts from. Prices and quantities become whole ticks and
lots; times are the exchange's own.
"""

import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from simulator.symbols import Symbol, make_symbol

MAX_LINE_BYTES = 16 << 20
Pair = tuple[str, str]


class CaptureError(ValueError):
    """A capture that cannot be played; the text says why and where."""


class Level(msgspec.Struct, frozen=True, array_like=True):
    """A level of a book as it was recorded."""

    price: str
    quantity: str


class Snapshot(msgspec.Struct, frozen=True, rename="camel"):
    """The REST book that a symbol starts from."""

    last_update_id: int
    bids: list[Level]
    asks: list[Level]


class Payload(msgspec.Struct, frozen=True):
    """The fields of all recorded events; which are set depends on the stream."""

    event_ms: int = msgspec.field(default=0, name="E")
    trade_id: int = msgspec.field(default=0, name="t")
    trade_ms: int = msgspec.field(default=0, name="T")
    price: str = msgspec.field(default="", name="p")
    quantity: str = msgspec.field(default="", name="q")
    is_buyer_maker: bool = msgspec.field(default=False, name="m")
    first_id: int = msgspec.field(default=0, name="U")
    last_id: int = msgspec.field(default=0, name="u")
    bids: list[Level] | str = msgspec.field(default="", name="b")
    asks: list[Level] | str = msgspec.field(default="", name="a")
    bid_quantity: str = msgspec.field(default="", name="B")
    ask_quantity: str = msgspec.field(default="", name="A")


class Frame(msgspec.Struct, frozen=True):
    """A recorded line: a frame of a stream, or a snapshot."""

    stream: str = ""
    data: Payload | None = None
    last_update_id: int = msgspec.field(default=0, name="lastUpdateId")
    bids: list[Level] = []
    asks: list[Level] = []


class Recording(msgspec.Struct, frozen=True):
    """What was recorded of one symbol, in order; receive times in ms for the quotes.

    Attributes:
        symbol: With the decimals that its prices and quantities need.
        trades: Payloads of ``@trade``.
        diffs: Payloads of ``@depth``.
        quotes: Receive time and payload of ``@bookTicker``.
        snapshot: The book that the diffs continue, if one was recorded.
        clock_lead_ms: What the exchange's clock was ahead of the recorder's, about.
    """

    symbol: Symbol
    trades: list[Payload]
    diffs: list[Payload]
    quotes: list[tuple[int, Payload]]
    snapshot: Snapshot | None
    clock_lead_ms: int


def read_capture(path: Path) -> list[Recording]:
    """Return what was recorded, by symbol.

    Raises:
        CaptureError: If a line is not of this format, or nothing was traded.
        OSError: If the file cannot be read.
    """
    trades: defaultdict[str, list[Payload]] = defaultdict(list)
    diffs: defaultdict[str, list[Payload]] = defaultdict(list)
    quotes: defaultdict[str, list[tuple[int, Payload]]] = defaultdict(list)
    snapshots: list[Snapshot] = []
    leads_ms: list[int] = []
    for received_ms, frame in _frames(path):
        name, _, kind = frame.stream.partition("@")
        if frame.data is None:
            snapshots.append(Snapshot(frame.last_update_id, frame.bids, frame.asks))
        elif kind == "trade":
            trades[name.upper()].append(frame.data)
        elif kind.startswith("depth") and frame.data.first_id:
            diffs[name.upper()].append(frame.data)
            leads_ms.append(frame.data.event_ms - received_ms)
        elif kind == "bookTicker":
            quotes[name.upper()].append((received_ms, frame.data))
    if not trades:
        raise CaptureError(f"{path} has no trades")
    lead_ms = sorted(leads_ms)[len(leads_ms) // 2] if leads_ms else 0
    return [
        Recording(
            _symbol(name, trades[name], diffs[name]),
            sorted(trades[name], key=lambda t: t.trade_id),
            diffs[name],
            quotes[name],
            _own_snapshot(snapshots, diffs[name]),
            lead_ms,
        )
        for name in trades
    ]


def _frames(path: Path) -> Iterator[tuple[int, Frame]]:
    decoder = msgspec.json.Decoder(Frame)
    with gzip.open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            time_ns, _, text = line.partition(b" ")
            try:
                yield int(time_ns) // 1_000_000, decoder.decode(text)
            except (ValueError, msgspec.DecodeError) as error:
                raise CaptureError(f"{path}, line {number}: {error}") from error


def _own_snapshot(snapshots: list[Snapshot], diffs: list[Payload]) -> Snapshot | None:
    """Return the first snapshot that these diffs continue."""
    if not diffs:
        return None
    first, last = diffs[0].first_id, diffs[-1].last_id
    return next((s for s in snapshots if first - 1 <= s.last_update_id <= last), None)


def _symbol(name: str, trades: list[Payload], diffs: list[Payload]) -> Symbol:
    known = make_symbol(name)
    levels = [level for diff in diffs for side in (diff.bids, diff.asks) for level in side]
    pairs = [(t.price, t.quantity) for t in trades]
    pairs += [(level.price, level.quantity) for level in levels if isinstance(level, Level)]
    price_decimals = max(known.price_decimals, _decimals(price for price, _ in pairs))
    lot_decimals = max(known.lot_decimals, _decimals(quantity for _, quantity in pairs))
    span_ms = trades[-1].trade_ms - trades[0].trade_ms
    return msgspec.structs.replace(
        known,
        price_decimals=price_decimals,
        lot_decimals=lot_decimals,
        base_ticks=scaled(trades[0].price, price_decimals),
        trades_per_minute=max(1, len(trades) * 60_000 // max(1, span_ms)),
    )


def _decimals(texts: Iterable[str]) -> int:
    return max(len(text.partition(".")[2].rstrip("0")) for text in texts)


def scaled(text: str, decimals: int) -> int:
    """Return a decimal text in units of 10**-decimals, exactly.

    Raises:
        CaptureError: If it has more decimals than that, or is no decimal number.
    """
    whole, _, fraction = text.partition(".")
    kept, rest = fraction[:decimals], fraction[decimals:]
    if not (whole + fraction).isdigit() or rest.strip("0"):
        raise CaptureError(f"{text!r} is no number with {decimals} decimals")
    return int(whole + kept.ljust(decimals, "0"))
