# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Production's gateway with small limits: a flood is refused, and nobody beside it suffers."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testkit.processes import free_port
from testkit.production import PROJECT, ROOT, TIMEOUT_S, Production

CONNECTIONS = 5
GATEWAY_USER = 10001
NOTICE_S = 20
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
def certificate(production: Production, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate that no other gateway uses."""
    folder = tmp_path_factory.mktemp("gateway") / "tls"
    shutil.copytree(production.folder / "tls", folder)
    shutil.chown(folder / "privkey.pem", GATEWAY_USER)
    return folder


@pytest.fixture(scope="module")
def gateway(production: Production, certificate: Path) -> Iterator[tuple[str, int]]:
    """One more gateway beside the suite's, with small limits: its name inside and port outside."""
    port = free_port()
    done = subprocess.run(
        ["docker", "run", "-d", "--network", f"{PROJECT}_front", "--read-only", "--cap-drop=ALL",
         "--tmpfs", "/tmp:mode=1777", "-p", f"127.0.0.1:{port}:8443",
         "-v", f"{ROOT}/production/gateway:/production:ro",
         "-v", f"{certificate}:/tls:ro",
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


def test_a_reload_with_nothing_new_touches_no_worker_and_a_new_certificate_is_served(
    gateway: tuple[str, int], certificate: Path
) -> None:
    name, port = gateway
    workers, served = workers_of(name), certificate_of(port)
    assert len(workers.split()) > 1  # the master and its workers
    assert "nothing has changed" in reload(name)
    assert (workers_of(name), certificate_of(port)) == (workers, served)
    subprocess.run(
        [ROOT / "production/make_certificate.sh"], check=True, capture_output=True, timeout=60,
        env=os.environ | {"TLS_DIR": str(certificate), "FORCE": "1"},
    )  # fmt: skip
    assert reload(name) == ""
    deadline = time.monotonic() + NOTICE_S
    while certificate_of(port) == served:
        assert time.monotonic() < deadline, "the old certificate is still served"
        time.sleep(0.1)


def reload(container: str) -> str:
    return inside(container, "sh", "/production/start.sh", "reload")


def workers_of(container: str) -> str:
    """Return the numbers of nginx's processes; new ones take their place at each reload."""
    return inside(container, "sh", "-c", "cat /proc/[0-9]*/stat | grep '(nginx)' | cut -d ' ' -f 1")


def inside(container: str, *command: str) -> str:
    done = subprocess.run(
        ["docker", "exec", container, *command],
        check=True, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    return done.stdout


def certificate_of(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port))
