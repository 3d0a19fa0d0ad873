# SPDX-License-Identifier: MIT
"""A proxy on loopback for tests: a long line, or one that is cut."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Between clients and a server on loopback: bytes go on after `delay_s`; after `most` of them both sides are closed."""

    def __init__(self, target: str, *, delay_s: float = 0.0, most: int | None = None) -> None:
        host, _, port = target.rpartition(":")
        self.target, self.delay_s, self.most = (host, int(port)), delay_s, most
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.socks: list[socket.socket] = []
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target, 5)
                self.socks += [near, far]
                for one, other, most in ((near, far, self.most), (far, near, None)):
                    self.threads.append(threading.Thread(target=self.carry, args=(one, other, most)))
                    self.threads[-1].start()

    def carry(self, one: socket.socket, other: socket.socket, left: int | None) -> None:
        """Each piece is late by the same time, however many are under way."""
        with suppress(OSError):
            while left is None or left > 0:
                data = one.recv(1 << 16 if left is None else left)
                if not data:
                    break
                left = None if left is None else left - len(data)
                if self.delay_s:
                    timer = threading.Timer(self.delay_s, self.deliver, (other, data))
                    self.threads.append(timer)
                    timer.start()
                else:
                    other.sendall(data)
            self.shut(one, other)

    @staticmethod
    def deliver(other: socket.socket, data: bytes) -> None:
        with suppress(OSError):
            other.sendall(data)

    @staticmethod
    def shut(*socks: socket.socket) -> None:
        for sock in socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.shut(self.listener, *self.socks)
        for thread in self.threads:
            thread.join(5)
        for sock in (self.listener, *self.socks):
            sock.close()
