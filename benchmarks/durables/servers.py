# SPDX-License-Identifier: MIT
"""Servers with a store, each in a process of its own that may be killed."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from peers.servers import GEARMAND, fastgear_command, gearmand_command

from durables.wire import HERE

__all__ = ["GEARMAND", "MISSING", "Life", "fastgear_on", "gearmand_on", "life"]

MISSING = "there is no gearmand to compare with; Debian: apt-get install gearman-job-server"
Command = Callable[[int], list[str]]


def fastgear_on(store: Path | None, durability: str = "full", *more: str) -> Command:
    """Without a store if None."""
    words = [f"--store={store}", f"--durability={durability}"] if store else []

    def command(port: int) -> list[str]:
        return [*fastgear_command(port), "--verbose=ERROR", *words, *more]

    return command


def gearmand_on(store: Path, *more: str) -> Command:
    def command(port: int) -> list[str]:
        pid_file = store.with_suffix(".pid")
        return [*gearmand_command(port), "-q", "libsqlite3", f"--libsqlite3-db={store}", "-P", str(pid_file), *more]

    return command


class Life:
    """One process of a server, from its start on."""

    def __init__(self, command: Command, port: int, folder: Path, env: dict[str, str] | None = None) -> None:
        self.port, self.log = port, folder / "server.log"
        self._begun = time.monotonic()
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command(port), stdout=log, stderr=log, cwd=folder, env=env)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait_until_up(self, timeout_s: float = 60) -> float:
        """Seconds since its start, at its first answer. Less than 0: it ended before. Raises TimeoutError."""
        while not self.ended:
            left_s = self._begun + timeout_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"{self.process.args!r} did not come up; it said: {self.log.read_text()[-1000:]}")
            try:
                with socket.create_connection((HERE, self.port), left_s) as made:
                    made.sendall(b"version\n")
                    if made.recv(100):
                        return time.monotonic() - self._begun
            except OSError:
                time.sleep(0.002)
        return -1.0

    def kill(self) -> int:
        """By SIGKILL, if it has not ended; its exit code."""
        self.process.kill()
        return self.process.wait()

    def stop(self, timeout_s: float = 60) -> float:
        """In good order; how many seconds that took."""
        begun = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.monotonic() - begun


@contextmanager
def life(command: Command, port: int, folder: Path, env: dict[str, str] | None = None) -> Iterator[Life]:
    """Killed in the end, whatever happens."""
    made = Life(command, port, folder, env)
    try:
        yield made
    finally:
        made.kill()
