# SPDX-License-Identifier: MIT
"""Real servers in processes of their own: fastgear's, or Debian's gearmand with ``pytest --server=gearmand``."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers import RunningServer, run_server
from speak import Packet, cut, request

from fastgear import Worker


@pytest.fixture(scope="session")
def server_kind(pytestconfig: pytest.Config) -> str:
    return str(pytestconfig.getoption("--server"))


@pytest.fixture
def server(server_kind: str, tmp_path: Path) -> Iterator[RunningServer]:
    with run_server(server_kind, tmp_path) as running:
        yield running


@pytest.fixture
def start_server(server_kind: str, tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Start servers with options of their own; each is stopped at the end."""
    with ExitStack() as stack:

        def start(*extra: str) -> RunningServer:
            folder = tmp_path / f"server{time.monotonic_ns()}"
            folder.mkdir()
            return stack.enter_context(run_server(server_kind, folder, *extra))

        yield start


class Raw:
    """A socket that speaks packets, whole or in pieces, without any of our code."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, 5)
        self.rest = b""
        self.found: list[Packet] = []

    def send(self, *words: object) -> None:
        self.socket.sendall(request(*words))  # type: ignore[arg-type]

    def receive(self, timeout: float = 5.0) -> Packet:
        deadline = time.monotonic() + timeout
        while not self.found:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.socket.recv(1 << 16)
            assert data, "the server closed the connection"
            self.found, self.rest = cut(self.rest + data)
        return self.found.pop(0)

    def is_silent(self, seconds: float = 0.1) -> bool:
        try:
            self.found.append(self.receive(seconds))
        except TimeoutError:
            return True
        return False

    def is_closed(self, timeout: float = 5.0) -> bool:
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def text(self, line: bytes) -> bytes:
        """Send a text command and read its reply: a line, or a listing up to its dot."""
        self.socket.sendall(line)
        self.socket.settimeout(5)
        listing = line.split()[0].lower() in (b"status", b"workers", b"prioritystatus", b"show")
        reply = b""
        while not (reply == b".\n" or reply.endswith(b"\n.\n") or (reply.endswith(b"\n") and not listing)):
            data = self.socket.recv(1 << 16)
            assert data, "the server closed the connection"
            reply += data
            if reply.startswith(b"ERR") and reply.endswith(b"\n"):
                break
        return reply


@pytest.fixture
def raw(server: RunningServer) -> Iterator[Callable[[], Raw]]:
    """raw() is a new connection to `server`."""
    opened: list[Raw] = []

    def connect() -> Raw:
        opened.append(Raw((server.host, server.port)))
        return opened[-1]

    yield connect
    for one in opened:
        one.socket.close()


@pytest.fixture
def run_worker() -> Iterator[Callable[[Worker], threading.Thread]]:
    """Run workers on threads; they are stopped at the end."""
    running: list[tuple[Worker, threading.Thread]] = []

    def run(worker: Worker) -> threading.Thread:
        thread = threading.Thread(target=worker.run)
        running.append((worker, thread))
        thread.start()
        return thread

    yield run
    for worker, thread in running:
        worker.stop()
        thread.join(10)
        assert not thread.is_alive()
