# SPDX-License-Identifier: MIT
"""Servers that misbehave, played by tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from speak import Packet, cut, response


class Played:
    """A server that says what the test says; each connection is taken by `accept`."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(5)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.socks: list[socket.socket] = []
        self.rest = bytearray()
        self.found: list[Packet] = []

    def accept(self) -> None:
        sock, _ = self.listener.accept()
        sock.settimeout(5)
        self.socks.append(sock)
        self.rest, self.found = bytearray(), []

    def expect(self, name: str) -> tuple[bytes, ...]:
        """Skip what comes before a packet of that name, and return its arguments."""
        while True:
            while self.found:
                found, args = self.found.pop(0)
                if found == name:
                    return args
            data = self.socks[-1].recv(1 << 20)
            assert data, f"the connection was closed before {name}"
            self.rest += data
            if len(self.rest) >= 12 + int.from_bytes(self.rest[8:12], "big"):
                self.found, rest = cut(bytes(self.rest), b"\0REQ")
                self.rest = bytearray(rest)

    def say(self, *words: object) -> None:
        self.socks[-1].sendall(response(*words))  # type: ignore[arg-type]

    def close(self) -> None:
        for sock in (self.listener, *self.socks):
            sock.close()


def assign(number: int, function: bytes, workload: bytes = b"") -> bytes:
    return response("JOB_ASSIGN_UNIQ", b"H:%d" % number, function, b"", workload)


@contextmanager
def silent_address() -> Iterator[str]:
    """An address where connecting takes for ever, since Linux drops what does not fit into a listener's queue."""
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        yield f"127.0.0.1:{full.getsockname()[1]}"
