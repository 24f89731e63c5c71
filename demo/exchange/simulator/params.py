# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Reading query parameters as strictly as the exchange does."""

import json
import re
from collections.abc import Iterable, Sequence

from simulator.answers import RefusalError, illegal_characters, missing
from simulator.intervals import INTERVALS, MINUTE_MS, Interval

SYMBOL_RANGE = r"^[\w\-._&&[^a-z]]{1,50}$"
NUMBER_RANGE = "^[0-9]{1,20}$"
_SYMBOL = re.compile(r"^(?:(?![a-z])[\w\-.]){1,50}$")
_NUMBER = re.compile(r"^[0-9]{1,20}$")
_ZONE = re.compile(r"^([+-]?)(\d{1,2})(?::(\d{2}))?$")
_FIRST_ZONE_MS, _LAST_ZONE_MS = -12 * 60 * MINUTE_MS, 14 * 60 * MINUTE_MS
_MICROSECONDS_FROM = 10**14  # larger times are microseconds


class Params:
    """The parameters of one request.

    Raises:
        RefusalError: When made, if there are parameters that the endpoint does not know, twice the
            same one, or an empty one.
    """

    def __init__(self, sent: Iterable[tuple[str, str]], known: Sequence[str]) -> None:
        pairs = list(sent)
        if pairs and not known:
            raise RefusalError(
                -1101, f"Too many parameters; expected '0' and received '{len(pairs)}'."
            )
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise RefusalError(-1101, "Duplicate values for a parameter detected.")
        self._values = dict(pairs)
        self._unread = len(set(names) - set(known))

    def check_all_read(self) -> None:
        """Refuse parameters that the endpoint does not know, and empty ones.

        Raises:
            RefusalError: Then.
        """
        if self._unread:
            sent = len(self._values)
            raise RefusalError(
                -1104,
                f"Not all sent parameters were read; read '{sent - self._unread}' parameter(s) "
                f"but was sent '{sent}'.",
            )
        for name, value in self._values.items():
            if not value:
                raise RefusalError(-1105, f"Parameter '{name}' was empty.")

    def has(self, name: str) -> bool:
        """Return whether the parameter was sent."""
        return name in self._values

    def text(self, name: str) -> str | None:
        """Return the value as it was sent."""
        return self._values.get(name)

    def mandatory(self, name: str) -> str:
        """Return the value; refuse the request without one."""
        value = self._values.get(name)
        if not value:
            raise missing(name)
        return value

    def symbol(self) -> str:
        """Return the mandatory, well-formed symbol."""
        return check_symbol(self.mandatory("symbol"), "symbol")

    def symbols(self, name: str = "symbols") -> list[str] | None:
        """Return the names of a JSON array such as ``["BTCUSDT","ETHUSDT"]``."""
        value = self._values.get(name)
        if value is None:
            return None
        try:
            names = json.loads(value)
        except ValueError:
            names = None
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            legal = r'^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$'
            raise illegal_characters(name, legal)
        return [check_symbol(n, name) for n in names]

    def number(self, name: str) -> int | None:
        """Return the whole number of that parameter."""
        value = self._values.get(name)
        if not value:
            return None
        if not _NUMBER.match(value):
            raise illegal_characters(name, NUMBER_RANGE)
        return int(value)

    def limit(self, default: int, largest: int) -> int:
        """Return how many rows are wanted, at most ``largest``."""
        limit = self.number("limit")
        if limit == 0:
            raise RefusalError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(limit or default, largest)

    def time_ms(self, name: str) -> int | None:
        """Return a time in ms; one sent in microseconds is rounded down."""
        value = self.number(name)
        return value // 1_000 if value and value >= _MICROSECONDS_FROM else value

    def interval(self) -> Interval:
        """Return the mandatory kline interval."""
        name = self.mandatory("interval")
        if name not in INTERVALS:
            raise RefusalError(-1120, "Invalid interval.")
        return INTERVALS[name]

    def zone_ms(self) -> int:
        """Return what the asked time zone is ahead of UTC."""
        return parse_zone(self._values.get("timeZone", "0"))


def check_symbol(value: str, name: str) -> str:
    """Return a well-formed symbol name.

    Raises:
        RefusalError: If it has lower-case letters or other signs that no symbol has.
    """
    if not _SYMBOL.match(value):
        raise illegal_characters(name, SYMBOL_RANGE)
    return value


def parse_zone(text: str) -> int:
    """Return a time zone such as ``0``, ``-1:00`` or ``05:45`` in ms ahead of UTC.

    Raises:
        RefusalError: If it is no zone between -12:00 and +14:00.
    """
    match = _ZONE.match(text.strip())
    if match:
        sign, hours, minutes = match.groups()
        zone_ms = (int(hours) * 60 + int(minutes or 0)) * MINUTE_MS * (-1 if sign == "-" else 1)
        if _FIRST_ZONE_MS <= zone_ms <= _LAST_ZONE_MS and int(minutes or 0) < 60:
            return zone_ms
    raise RefusalError(-1130, "Data sent for parameter 'timeZone' is not valid.")
