# SPDX-License-Identifier: MIT
"""Real servers: fastgear's, or Debian's gearmand with ``pytest --server=gearmand``."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from played import Played, silent_address
from servers import RunningServer, run_server
from speak import Packet, cut, request

from fastgear import Server, ServerConfig, Worker


@pytest.fixture(scope="session")
def server_kind(pytestconfig: pytest.Config) -> str:
    return str(pytestconfig.getoption("--server"))


@pytest.fixture
def server(server_kind: str, tmp_path: Path) -> Iterator[RunningServer]:
    """fastgear's runs in this process, where it is there at once and its allocations are counted; `start_server` takes others."""
    if server_kind != "fastgear":
        with run_server(server_kind, tmp_path) as running:
            yield running
        return
    with Server("127.0.0.1:0", f"unix:{tmp_path}/server", config=ServerConfig(verbose="ERROR")) as embedded:
        port = int(embedded.addresses[0].rpartition(":")[2])
        yield RunningServer("fastgear", "127.0.0.1", port, None, f"{tmp_path}/server")


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


@pytest.fixture
def played(run_worker: object) -> Iterator[Played]:
    """It goes first at the end, so that workers need not wait for it."""
    server = Played()
    yield server
    server.close()


@pytest.fixture
def silent() -> Iterator[str]:
    with silent_address() as address:
        yield address


@pytest.fixture(scope="session")
def first_loop() -> None:
    """The first loop of uvloop's in a process leaves a pipe for signals open, once and for all."""
    with suppress(ImportError):
        import uvloop

        uvloop.new_event_loop().close()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, first_loop: None
) -> Iterator[Callable[[Coroutine[Any, Any, Any]], None]]:
    """Run a coroutine in a loop in debug mode, in which no task may be left, nor anything be complained of by asyncio."""

    async def watched(main: Coroutine[Any, Any, Any]) -> None:
        asyncio.get_running_loop().slow_callback_duration = 5.0
        await asyncio.wait_for(main, 60)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def start(main: Coroutine[Any, Any, Any]) -> None:
        if request.param == "asyncio":
            asyncio.run(watched(main), debug=True)
            return
        uvloop = pytest.importorskip("uvloop", reason="there is no uvloop for this Python")
        uvloop.run(watched(main), debug=True)

    yield start
    complaints = [record.getMessage() for record in caplog.records if record.name == "asyncio" and record.levelno > 20]
    assert complaints == []
