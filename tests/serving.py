# SPDX-License-Identifier: MIT
"""``fastgear serve`` as a process whose command line, log and end are what a test is about."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speak import Packet, cut, request

from fastgear import Worker

SERVE = [sys.executable, "-m", "fastgear", "serve"]
_PATIENCE_S = 20.0


def until(look: Callable[[], Any], what: str = "it") -> Any:
    """What `look` returns, once that is something."""
    deadline = time.monotonic() + _PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.01)
    return found


@contextmanager
def working(worker: Worker, patience_s: float) -> Iterator[None]:
    """It runs in a thread, and leaves in time once it is told to."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(patience_s)
        assert not thread.is_alive()


class Serve:
    """A server that was started; what it says on standard error is in a file from the first line on."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def address(self) -> str:
        """The first one."""
        return self.addresses[0]

    @property
    def addresses(self) -> list[str]:
        found = until(lambda: self._ended() or re.search(r"serving on (.*)\n", self.log), "serving")
        return str(found[1]).split(", ")

    def _ended(self) -> None:
        assert self.process.poll() is None, self.log

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """The exit code, and all that it said."""
        self.process.send_signal(number)
        return self.process.wait(_PATIENCE_S), self.log

    def peer(self) -> Peer:
        return Peer(self.address)


@contextmanager
def serving(
    folder: Path, *words: str, command: Sequence[str] = SERVE, environment: dict[str, str] | None = None, **more: Any
) -> Iterator[Serve]:
    """Start it; kill it at the end if it still runs. `more` goes to Popen."""
    log = folder / f"stderr{time.monotonic_ns()}"
    with open(log, "wb") as stderr:
        process = subprocess.Popen(
            [*command, *words],
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            **more,
        )
    try:
        yield Serve(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def run_serve(
    folder: Path, *words: str, command: Sequence[str] = SERVE, environment: dict[str, str] | None = None, **more: Any
) -> tuple[int, str, str]:
    """One that ends by itself: its exit code, and what it said on both streams."""
    done = subprocess.run(
        [*command, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        **more,
    )
    return done.returncode, done.stdout, done.stderr


def shared(sock: socket.socket) -> socket.socket:
    """The same socket on a descriptor that is nobody's standard stream, to be handed to another process by number."""
    with sock:
        return socket.socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 10))


class Peer:
    """A connection that speaks packets, to any kind of address."""

    def __init__(self, address: str) -> None:
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(address.removeprefix("unix:"))
            except OSError:
                self.socket.close()
                raise
        else:
            host, _, port = address.rpartition(":")
            self.socket = socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S)
        self.socket.settimeout(_PATIENCE_S)
        self._rest = b""
        self._found: list[Packet] = []

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, name: str, *args: bytes) -> None:
        self.socket.sendall(request(name, *args))

    def receive(self) -> Packet:
        while not self._found:
            data = self.socket.recv(1 << 16)
            assert data, "the server closed the connection"
            self._found, self._rest = cut(self._rest + data)
        return self._found.pop(0)

    def command(self, line: str) -> str:
        """The reply of one line to a text command."""
        self.socket.sendall(line.encode() + b"\n")
        return self.socket.makefile().readline().strip()


def connected(address: str) -> Peer | None:
    """A connection, once there is somebody to connect to."""
    try:
        return Peer(address)
    except OSError:
        return None
