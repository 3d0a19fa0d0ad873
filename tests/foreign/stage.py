# SPDX-License-Identifier: MIT
"""One server, and a driver process for every client and every worker, which all tests share."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from foreign.driver import PATIENCE_S, Driver, Missing, Trouble
from foreign.peers import CLIENT, PEERS, WORKER
from servers import RunningServer

from fastgear import Client
from fastgear.admin.text import AdminClient

__all__ = ["Gate", "Stage", "until"]


def until(what: str, check: Callable[[], object]) -> None:
    """Look again and again, until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        if time.monotonic() > deadline:
            raise Trouble(f"after {PATIENCE_S:.0f} s still not: {what}")
        time.sleep(0.002)


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

    def start(self) -> None:
        for name, peer in PEERS.items():
            if not peer.may_be_there():
                self.missing.add(name)
                continue
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
        try:
            self._drivers[name, role] = Driver(PEERS[name], role, self._server, self._folder / f"{name}.log")
            if role == WORKER:
                until("it has registered", lambda: self._registered(name))
        except Trouble as trouble:
            raise Trouble(f"the {role} {name} did not start: {trouble}\n{self.log(name)}") from None

    def _registered(self, name: str) -> bool:
        return PEERS[name].functions <= {info.name for info in self.admin.status() if info.workers}

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
