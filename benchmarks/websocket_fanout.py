# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Fan-out over WebSockets: messages delivered by a server on one core, beside its peers.

First as fast as each goes, then at a pace that all can hold, where nothing can be sent together
and the system call for each client is most of the cost. Per CPU second of the server, because a
shared machine's clock says little, and per second.

``python benchmarks/websocket_fanout.py [--clients 1000] [--messages 200] [--rate 20]``; needs Node
and ``npm ci`` in ``benchmarks/fanout`` for the peer in JavaScript. Every round takes all servers in
turn; medians of the rounds are compared.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import psutil

FOLDER = Path(__file__).parent / "fanout"
NAMES = {
    "linkora": "ours (hub, sockets, frame protocol)",
    "starlette": "Starlette, for ws: await ws.send_text()",
    "websockets": "websockets.broadcast",
    "node": "Node's ws",
    "raw": "raw uvloop writes (the limit)",
}


def measure(kind: str, clients: int, messages: int, rate: float) -> tuple[float, float]:
    """Return messages delivered per CPU second of the server, and per second of the clock."""
    arguments = [str(clients), str(messages), str(rate)]
    command = (
        [shutil.which("node") or "node", str(FOLDER / "node-ws.mjs"), *arguments]
        if kind == "node"
        else [sys.executable, str(FOLDER / "servers.py"), kind, *arguments]
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        told = subprocess.run(
            [sys.executable, str(FOLDER / "clients.py"), port, str(clients), str(messages)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        used = psutil.Process(server.pid).cpu_times()
        before_s = json.loads(server.stdout.readline())["cpu_s"]
        server.kill()
    counted = json.loads(told.stdout)
    assert counted["received"] == counted["expected"], (kind, counted)
    delivered = clients * messages
    return delivered / (used.user + used.system - before_s), delivered / counted["wall_s"]


def compare(kinds: list[str], options: argparse.Namespace, rate: float) -> None:
    """Measure all servers in turn and print them beside ours."""
    results: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(options.rounds):
        for kind in kinds:
            results[kind].append(measure(kind, options.clients, options.messages, rate))
    per_cpu = {kind: statistics.median(x[0] for x in results[kind]) for kind in kinds}
    per_s = {kind: statistics.median(x[1] for x in results[kind]) for kind in kinds}
    pace = f"{rate:g} messages a second" if rate else "as fast as they go"
    print(f"\n{options.clients} clients, 270 bytes, {pace}; median of {options.rounds} rounds")
    print(
        f"{'server':42} {'delivered/CPU s':>15} {'ours is':>8} {'delivered/s':>12} {'ours is':>8}"
    )
    for kind in kinds:
        print(
            f"{NAMES[kind]:42} {per_cpu[kind]:15,.0f} {per_cpu['linkora'] / per_cpu[kind]:7.2f}x"
            f" {per_s[kind]:12,.0f} {per_s['linkora'] / per_s[kind]:7.2f}x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20.0, help="messages a second")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    kinds = list(NAMES)
    if not (FOLDER / "node_modules").exists() or shutil.which("node") is None:
        kinds.remove("node")
        print("Node's ws is left out: run `npm ci` in benchmarks/fanout")
    compare(kinds, options, 0.0)
    compare(kinds, options, options.rate)


if __name__ == "__main__":
    main()
