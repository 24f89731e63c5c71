# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Which neighbours are there, since when, and what a service says of itself."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec


class Component(msgspec.Struct):
    """The state of one neighbour or part.

    Attributes:
        is_up: False while it is away or broken.
        detail: Why it is not up, or what there is to know about it.
        since_ms: When ``is_up`` last changed, Unix ms.
    """

    is_up: bool
    detail: str
    since_ms: int


class Health:
    """What ``/health`` tells: named components, and facts that are asked for at each answer."""

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self._components: dict[str, Component] = {}
        self._facts: dict[str, Callable[[], Any]] = {}

    def up(self, name: str, detail: str = "") -> bool:
        """Note that ``name`` works; return True if that is news."""
        return self._note(name, is_up=True, detail=detail)

    def down(self, name: str, detail: str) -> bool:
        """Note that ``name`` does not work and why; return True if that is news."""
        return self._note(name, is_up=False, detail=detail)

    def fact(self, name: str, ask: Callable[[], Any]) -> None:
        """Show ``ask()`` as field ``name`` of every answer."""
        self._facts[name] = ask

    def is_up(self, name: str) -> bool:
        """Return whether ``name`` is known and works."""
        component = self._components.get(name)
        return component is not None and component.is_up

    @property
    def is_healthy(self) -> bool:
        """True if every known component works."""
        return all(component.is_up for component in self._components.values())

    def states(self) -> dict[str, bool]:
        """Return whether each known component works."""
        return {name: component.is_up for name, component in self._components.items()}

    def reasons(self) -> dict[str, str]:
        """Return the components that are away, with the reason."""
        return {name: c.detail for name, c in self._components.items() if not c.is_up}

    def report(self) -> dict[str, Any]:
        """Return the answer's body.

        It has ``status`` (``healthy`` or ``degraded``), ``timestamp`` (ISO 8601), a field with
        ``healthy`` or ``unhealthy`` for each component, ``details`` with the reason and the time
        of the last change of those that are away, and the facts.
        """
        body: dict[str, Any] = {
            "status": "healthy" if self.is_healthy else "degraded",
            "timestamp": _iso(self._now_ms()),
        }
        for name, component in self._components.items():
            body[name] = "healthy" if component.is_up else "unhealthy"
        body["details"] = {
            name: {"reason": component.detail, "since": _iso(component.since_ms)}
            for name, component in self._components.items()
            if not component.is_up
        }
        for name, ask in self._facts.items():
            body[name] = ask()
        return body

    def _note(self, name: str, *, is_up: bool, detail: str) -> bool:
        known = self._components.get(name)
        if known is None or known.is_up != is_up:
            self._components[name] = Component(is_up, detail, self._now_ms())
            return True
        known.detail = detail
        return False


def _iso(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
