# SPDX-License-Identifier: MIT
"""One server, and a driver process for every client and every worker, which all tests share. `lines.md` is their protocol."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from foreign.peers import CLIENT, PEERS, WORKER, Peer
from servers import RunningServer

from fastgear import Client
from fastgear.admin.text import AdminClient

__all__ = ["Driver", "Gate", "Missing", "Stage", "Trouble"]

PATIENCE_S = 10.0
_ENDS = ("complete", "fail", "exception", "printed", "broken")

Event = tuple[object, ...]


class Trouble(Exception):
    """A peer did not do what was to be seen."""


class Missing(Exception):
    """A peer is not installed."""


def blob(data: bytes) -> str:
    return base64.b64encode(data).decode() or "-"


def until(what: str, check: Callable[[], object]) -> None:
    """Look again and again, until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        if time.monotonic() > deadline:
            raise Trouble(f"after {PATIENCE_S:.0f} s still not: {what}")
        time.sleep(0.002)


class Driver:
    """A process that speaks the lines. It dies with this one."""

    def __init__(self, peer: Peer, role: str, server: RunningServer, log: Path) -> None:
        words = ["setpriv", "--pdeathsig", "TERM", *peer.command, role, server.host, str(server.port), peer.name]
        with open(log, "ab") as errors:
            self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        self._rest = b""
        try:
            word, self.version = self._first_line()
            if word != "ready":
                raise Missing(peer.name)
        except BaseException:
            self.close()
            raise

    def _first_line(self) -> tuple[str, str]:
        with contextlib.suppress(Trouble, ValueError):
            word, rest = self._line().split(" ", 1)
            return word, rest
        return "missing", ""

    def _line(self) -> str:
        output = self._process.stdout
        assert output is not None
        deadline = time.monotonic() + PATIENCE_S
        while b"\n" not in self._rest:
            if not select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Trouble(f"said nothing for {PATIENCE_S:.0f} s")
            data = os.read(output.fileno(), 1 << 20)
            if not data:
                raise Trouble("ended")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def _event(self) -> Event:
        word, *rest = self._line().split(" ")
        if word == "broken":
            raise Trouble(base64.b64decode(rest[0]).decode())
        if word in ("status", "state"):
            return word, *(int(number) for number in rest)
        if word == "created":
            return word, rest[0]
        return word, *(base64.b64decode(one) if one != "-" else b"" for one in rest)

    def _ask(self, *words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words).encode() + b"\n")
        self._process.stdin.flush()

    def begin(self, function: str, workload: bytes, priority: str = "normal", unique: str = "-") -> None:
        self._ask("run", function, priority, unique, blob(workload))

    def events(self) -> list[Event]:
        """Of the job that was begun, up to its end."""
        seen = [self._event()]
        while seen[-1][0] not in _ENDS:
            seen.append(self._event())
        return seen

    def queue(self, function: str, workload: bytes, priority: str = "normal", unique: str = "-") -> str:
        self._ask("queue", function, priority, unique, blob(workload))
        return str(self._event()[1])

    def state(self, handle: str) -> Event:
        self._ask("ask", handle)
        return self._event()[1:]

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        self._process.terminate()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Gate:
    """A named pipe at which the function `hold` waits, until the test lets it go."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gate"
        os.mkfifo(self.path)
        self._fd = -1

    def is_reached(self) -> bool:
        """Whether a worker waits here."""
        if self._fd < 0:
            try:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
        return self._fd >= 0

    def wait(self) -> None:
        until("a worker runs the job", self.is_reached)

    def open(self, text: bytes = b"") -> None:
        os.write(self._fd, text)
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class Stage:
    """All that is installed, started once; what is not is in `missing`."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._drivers: dict[tuple[str, str], Driver] = {}
        self.missing: set[str] = set()
        self.control = Client(server.address)  # apart from the peers: to know what the server knows
        self.admin = AdminClient(server.address)
        self.control.echo(b"")
        for name in PEERS:
            try:
                for role in (CLIENT, WORKER):
                    self._start(name, role)
            except Missing:
                self.missing.add(name)

    @property
    def versions(self) -> dict[str, str]:
        return {name: driver.version for (name, role), driver in self._drivers.items() if role == CLIENT}

    def client(self, name: str) -> Driver:
        return self._drivers[name, CLIENT]

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text("utf-8", "replace")[-2000:]

    def _start(self, name: str, role: str) -> None:
        self._drivers[name, role] = Driver(PEERS[name], role, self._server, self._folder / f"{name}.log")
        if role == WORKER:
            until(f"{name} has registered", lambda: self._registered(name))

    def _registered(self, name: str) -> bool:
        """All of its functions, of which `hold` need not be the last."""
        functions = [info for info in self.admin.status() if info.name.startswith(f"{name}-") and info.workers]
        return len(functions) >= (4 if name == "tool" else 7 if name == "perl" else 8)

    def restart(self, *names: str) -> None:
        """After trouble: nothing of it is left for the next test."""
        for name in names:
            for role in (CLIENT, WORKER):
                self._drivers[name, role].close()
            until(f"{name} has left", lambda name=name: not self._rest_of(name, "workers"))
        for job in self.admin.jobs():
            self.admin.cancel(job.handle)
        until("no job is left", lambda: not any(self._rest_of(name, "total") for name in PEERS))
        for name in names:
            for role in (CLIENT, WORKER):
                self._start(name, role)

    def _rest_of(self, name: str, count: str) -> int:
        return sum(getattr(info, count) for info in self.admin.status() if info.name.startswith(f"{name}-"))

    def jobs(self, function: str) -> int:
        """Queued and running."""
        return sum(info.total for info in self.admin.status() if info.name == function)

    @contextlib.contextmanager
    def gates(self, number: int) -> Iterator[list[Gate]]:
        with contextlib.ExitStack() as stack:
            made = []
            for _ in range(number):
                folder = stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder))
                made.append(Gate(Path(folder)))
                stack.callback(made[-1].close)
            yield made

    def close(self) -> None:
        for driver in self._drivers.values():
            driver.close()
        self.control.close()
        self.admin.close()
