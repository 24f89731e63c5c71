# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""``/control``: what can be asked of the exchange while it runs, and what it tells about itself.

A request is a JSON object: names of switches with their new values, and ``actions``, a list of
objects with an ``action`` and its fields.
"""

from typing import Literal

import msgspec
from pydantic import ValidationError

from simulator.exchange import Exchange
from simulator.faults import FaultKind
from simulator.interruptions import FOREVER_MS, Outage, Stretch
from simulator.market import Market
from simulator.settings import Switches
from simulator.symbols import ORIGIN_MS


class WrongControlError(ValueError):
    """A control request that cannot be carried out; the text says why."""


class _Action(msgspec.Struct, frozen=True, tag_field="action", forbid_unknown_fields=True):
    """Base of the actions."""


class AddOutage(_Action, frozen=True, tag="outage"):
    """No klines in [start_ms, end_ms); of one symbol, or of all."""

    start_ms: int
    end_ms: int
    symbol: str | None = None
    off_grid_until_ms: int = 0


class AddQuiet(_Action, frozen=True, tag="quiet"):
    """No trades in [start_ms, end_ms), but klines; of one symbol, or of all."""

    start_ms: int
    end_ms: int
    symbol: str | None = None


class Revise(_Action, frozen=True, tag="revise"):
    """The minute at open_ms becomes another one: same trades' number and ids, new values."""

    symbol: str
    open_ms: int


class ListSymbol(_Action, frozen=True, tag="list"):
    """A new symbol starts to trade: now, or at listed_ms."""

    symbol: str
    listed_ms: int | None = None


class Delist(_Action, frozen=True, tag="delist"):
    """A symbol stops trading now; history stays. With forget it becomes unknown altogether."""

    symbol: str
    status: str = "BREAK"
    forget: bool = False


class SetStatus(_Action, frozen=True, tag="status"):
    """A symbol's status in exchangeInfo, such as HALT or CANCEL_ONLY."""

    symbol: str
    status: str


class DropStreams(_Action, frozen=True, tag="drop_streams"):
    """Cut a share of the WebSocket connections; with a code, close them with it."""

    fraction: float = 1.0
    code: int | None = None


class SilenceStreams(_Action, frozen=True, tag="silence_streams"):
    """Make a share of the WebSocket connections half-open: nothing comes any more."""

    fraction: float = 1.0


class ServerShutdown(_Action, frozen=True, tag="server_shutdown"):
    """Announce a shutdown on every connection and close them after that long."""

    after_s: float = 10.0


class GoDown(_Action, frozen=True, tag="down"):
    """Be away: answer 503, or refuse connections; every WebSocket connection is cut."""

    seconds: float
    mode: Literal["503", "refuse"] = "503"


class Ban(_Action, frozen=True, tag="ban"):
    """Ban every address seen so far."""

    seconds: int


class FaultNext(_Action, frozen=True, tag="fault_next"):
    """Strike the next requests with these faults, in order."""

    kinds: list[FaultKind]


class TamperDiffs(_Action, frozen=True, tag="tamper_diffs"):
    """Leave out, or send twice, the next order book diffs."""

    how: Literal["drop", "duplicate"]
    count: int = 1


class SendEvent(_Action, frozen=True, tag="send_event"):
    """Send an event of any kind to every connection, as if from a stream of that name."""

    event: dict[str, object]
    stream: str = "!newEvent"


class Reset(_Action, frozen=True, tag="reset"):
    """Set every switch to its value at the start, forget bans, queued faults and counters."""


Action = (
    AddOutage
    | AddQuiet
    | Revise
    | ListSymbol
    | Delist
    | SetStatus
    | DropStreams
    | SilenceStreams
    | ServerShutdown
    | GoDown
    | Ban
    | FaultNext
    | TamperDiffs
    | SendEvent
    | Reset
)


class ControlRequest(msgspec.Struct, frozen=True):
    """A control request, split into its two parts."""

    switches: dict[str, object]
    actions: list[Action]


def read_control(body: bytes) -> ControlRequest:
    """Return what a control request asks for.

    Raises:
        WrongControlError: If it is not a JSON object, or an action is unknown or wrong.
    """
    try:
        fields = msgspec.json.decode(body or b"{}", type=dict[str, object])
        actions = msgspec.convert(fields.pop("actions", []), list[Action])
    except msgspec.DecodeError as error:
        raise WrongControlError(str(error)) from error
    return ControlRequest(fields, actions)


def change_switches(switches: Switches, changes: dict[str, object]) -> Switches:
    """Return the switches with some of them changed.

    Raises:
        WrongControlError: If there is no such switch or its value is not allowed.
    """
    try:
        return Switches.model_validate({**switches.model_dump(), **changes})
    except ValidationError as error:
        texts = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise WrongControlError("; ".join(texts)) from error


def change_market(exchange: Exchange, action: Action) -> bool:
    """Carry out an action on the market; return whether it was one.

    Raises:
        WrongControlError: If the symbol is unknown or the times are the wrong way round.
    """
    match action:
        case AddOutage():
            outage = Outage(*_stretch(action), action.off_grid_until_ms)
            for market in _markets(exchange, action.symbol):
                market.interrupt(market.interruptions.with_outage(outage))
        case AddQuiet():
            stretch = Stretch(*_stretch(action))
            for market in _markets(exchange, action.symbol):
                market.interrupt(market.interruptions.with_quiet(stretch))
        case Revise():
            _markets(exchange, action.symbol)[0].revise(action.open_ms)
        case ListSymbol():
            listed_ms = exchange.now_ms() if action.listed_ms is None else action.listed_ms
            position = len(exchange.listings)
            listing = exchange.generate(action.symbol, position, max(listed_ms, ORIGIN_MS))
            exchange.listings[action.symbol] = listing
        case Delist():
            (market,) = _markets(exchange, action.symbol)
            market.status = action.status
            outage = Outage(exchange.now_ms(), FOREVER_MS)
            market.interrupt(market.interruptions.with_outage(outage))
            if action.forget:
                del exchange.listings[action.symbol]
        case SetStatus():
            _markets(exchange, action.symbol)[0].status = action.status
        case _:
            return False
    return True


def _stretch(action: AddOutage | AddQuiet) -> tuple[int, int]:
    if not ORIGIN_MS <= action.start_ms < action.end_ms <= FOREVER_MS:
        raise WrongControlError("start_ms must be before end_ms, both Unix ms of 2017 to 2099")
    return action.start_ms, action.end_ms


def _markets(exchange: Exchange, symbol: str | None) -> list[Market]:
    if symbol is None:
        return [listing.market for listing in exchange.listings.values()]
    if symbol not in exchange.listings:
        raise WrongControlError(f"unknown symbol {symbol!r}")
    return [exchange.listings[symbol].market]
