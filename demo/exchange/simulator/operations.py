# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Actions on the server itself: what breaks connections, bans addresses, takes it down."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from simulator import control
from simulator.broadcast import Broadcaster
from simulator.connection import GOING_AWAY, Connection
from simulator.exchange import Exchange
from simulator.faults import Faults
from simulator.gate import Gate

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Operations:
    """Carries out the actions of ``/control`` that are not about the market.

    Attributes:
        pause_listening: Stops listening for that many seconds; set by the server.
    """

    def __init__(
        self, exchange: Exchange, broadcaster: Broadcaster, gate: Gate, faults: Faults, spawn: Spawn
    ) -> None:
        self.pause_listening: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._exchange = exchange
        self._broadcaster = broadcaster
        self._gate = gate
        self._faults = faults
        self._spawn = spawn

    def carry_out(self, action: control.Action) -> None:
        """Carry out one action; what takes time goes on in the background."""
        match action:
            case control.DropStreams():
                self._drop(action)
            case control.SilenceStreams():
                self._silence(action)
            case control.ServerShutdown():
                self._spawn(self._shut_streams(action.after_s))
            case control.GoDown():
                self._spawn(self._go_down(action))
            case control.Ban():
                self._gate.ban_everybody(action.seconds)
            case control.FaultNext():
                self._faults.queued.extend(action.kinds)
            case control.TamperDiffs():
                self._broadcaster.next_diffs[action.how] += action.count
            case control.SendEvent():
                payload = msgspec.json.encode(action.event).decode()
                for connection in self._broadcaster.connections:
                    connection.offer(action.stream, payload)
            case _:
                self._reset()

    def _drop(self, action: control.DropStreams) -> None:
        for connection in self._some_connections(action.fraction):
            self._exchange.counters["connections_dropped"] += 1
            if action.code is None:
                connection.cut()
            else:
                self._spawn(connection.close(action.code, "dropped"))

    def _silence(self, action: control.SilenceStreams) -> None:
        for connection in self._some_connections(action.fraction):
            self._exchange.counters["connections_silenced"] += 1
            connection.is_silent = True

    def _some_connections(self, fraction: float) -> list[Connection]:
        connections = sorted(self._broadcaster.connections, key=lambda c: c.number)
        count = min(len(connections), round(len(connections) * fraction))
        return self._exchange.rng.sample(connections, max(0, count))

    async def _shut_streams(self, after_s: float) -> None:
        payload = f'{{"e":"serverShutdown","E":{self._exchange.now_ms()}}}'
        leaving = list(self._broadcaster.connections)
        for connection in leaving:
            connection.offer("!serverShutdown", payload)
        await asyncio.sleep(after_s)
        for connection in leaving:
            await connection.close(GOING_AWAY, "Server shutdown")

    async def _go_down(self, action: control.GoDown) -> None:
        exchange = self._exchange
        exchange.down_until_ms = exchange.now_ms() + int(action.seconds * 1_000)
        for connection in list(self._broadcaster.connections):
            connection.cut()
        if action.mode == "refuse":
            await self.pause_listening(action.seconds)

    def _reset(self) -> None:
        exchange = self._exchange
        exchange.switches = exchange.settings.switches()
        exchange.counters.clear()
        exchange.down_until_ms = 0
        self._faults.queued.clear()
        self._gate.forgive_everybody()
        self._broadcaster.next_diffs.clear()
