# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Production's gateway with small limits: a flood is refused, and nobody beside it suffers."""

import json
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from testkit.processes import free_port
from testkit.production import PROJECT, ROOT, TIMEOUT_S, Production

CONNECTIONS = 5
LIMITS = {
    "EDGE_REQUESTS_PER_S": "20", "EDGE_BURST": "30", "EDGE_CONNECTIONS": str(CONNECTIONS),
    "EDGE_HSTS_S": "60",
}  # fmt: skip
# Runs inside the network, from an address of its own: argv is the gateway, requests, pause.
CLIENT = """
import collections, http.client, json, ssl, sys, time
gateway, count, pause_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
context = ssl._create_unverified_context()
seen, waits, bodies = collections.Counter(), collections.Counter(), collections.Counter()
connection = http.client.HTTPSConnection(gateway, 8443, context=context, timeout=10)
for _ in range(count):
    connection.request("GET", "/symbols")
    answer = connection.getresponse()
    body = answer.read().decode()
    seen[answer.status] += 1
    if answer.status != 200:
        waits[answer.headers.get("retry-after")] += 1
        bodies[body] += 1
    time.sleep(pause_s)
print(json.dumps({"seen": seen, "waits": waits, "bodies": bodies}))
"""

pytestmark = [pytest.mark.compose, pytest.mark.timeout(2 * TIMEOUT_S)]


@pytest.fixture(scope="module")
def gateway(production: Production) -> Iterator[tuple[str, int]]:
    """One more gateway beside the suite's, with small limits: its name inside and port outside."""
    port = free_port()
    done = subprocess.run(
        ["docker", "run", "-d", "--network", f"{PROJECT}_front", "--read-only", "--cap-drop=ALL",
         "--tmpfs", "/tmp:mode=1777", "-p", f"127.0.0.1:{port}:8443",
         "-v", f"{ROOT}/production/gateway:/production:ro",
         "-v", f"{production.folder}/tls:/tls:ro",
         *(part for name, value in LIMITS.items() for part in ("-e", f"{name}={value}")),
         "linkora/gateway:local", "sh", "/production/start.sh"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    container = done.stdout.strip()
    try:
        deadline = time.monotonic() + 20
        while not _listens(port):
            assert time.monotonic() < deadline, "the gateway does not listen"
            time.sleep(0.2)
        yield container[:12], port
    finally:
        subprocess.run(["docker", "rm", "-f", container], check=True, capture_output=True)


def _listens(port: int) -> bool:
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 2) as raw,
            _anybody().wrap_socket(raw),
        ):
            return True
    except OSError:
        return False


def _anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def client(gateway: str, count: int, pause_s: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["docker", "run", "--rm", "--network", f"{PROJECT}_front", "linkora/order-system:local",
         "python", "-c", CLIENT, gateway, str(count), str(pause_s)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def told(process: subprocess.Popen[str]) -> Any:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(out)


def test_a_flood_is_refused_with_the_time_to_wait_and_a_client_beside_it_is_served(
    gateway: tuple[str, int],
) -> None:
    name, _ = gateway
    beside = client(name, 60, 0.1)
    flood = told(client(name, 600, 0))
    assert flood["seen"].keys() == {"200", "429"}
    assert flood["seen"]["429"] > 300
    assert flood["seen"]["200"] >= 30  # the burst and what came due meanwhile
    assert flood["waits"] == {"1": flood["seen"]["429"]}
    (body,) = flood["bodies"]
    assert json.loads(body) == {"error": "Too many requests or connections from this address"}
    assert told(beside)["seen"] == {"200": 60}


def test_one_address_holds_so_many_sockets_and_no_more(gateway: tuple[str, int]) -> None:
    name, port = gateway
    request = (
        "GET /ws?type=none HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bGlua29yYS1jaGVja3MhIQ==\r\n\r\n"
    )
    heads: list[str] = []
    held = []
    try:
        for _ in range(CONNECTIONS + 3):
            raw = socket.create_connection(("127.0.0.1", port), 5)
            held.append(_anybody().wrap_socket(raw))
            held[-1].sendall(request.encode())
            heads.append(held[-1].recv(4096).decode())
        statuses = Counter(head.split()[1] for head in heads)
        assert statuses == {"101": CONNECTIONS, "429": 3}
        refused = [head for head in heads if " 429 " in head.splitlines()[0]]
        assert all("Retry-After: 1" in head for head in refused)
        # Somebody else is served meanwhile.
        assert told(client(name, 5, 0.1))["seen"] == {"200": 5}
    finally:
        for each in held:
            each.close()
