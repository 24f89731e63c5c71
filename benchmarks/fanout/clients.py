# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The clients of the comparison, in a process of their own: ``python clients.py PORT N MESSAGES``.

They only count bytes, so that the server is what is measured. Prints what has arrived.
"""

import json
import selectors
import socket
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "common"), str(Path(__file__).parent)]

from payload import payload  # noqa: E402

from linkora.hub import Frame  # noqa: E402

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def main() -> None:
    port, count, messages = map(int, sys.argv[1:])
    expected = sum(len(Frame(payload(number)).wire) for number in range(messages)) * count
    selector = selectors.DefaultSelector()
    received = 0
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(HANDSHAKE)
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        received += len(head.partition(b"\r\n\r\n")[2])
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ)
    deadline_s = time.monotonic() + 120
    began_s = None
    while received < expected and time.monotonic() < deadline_s:
        ready = selector.select(1.0)
        began_s = began_s or (time.monotonic() if ready else None)
        for key, _ in ready:
            received += len(key.fileobj.recv(65_536))  # type: ignore[union-attr]
    wall_s = time.monotonic() - (began_s or 0.0)
    report = {"received": received, "expected": expected, "wall_s": wall_s}
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
