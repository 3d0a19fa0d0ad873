# SPDX-License-Identifier: MIT
"""The processes that take part: started, killed and stopped at random, started again, and told to leave."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from soaks.notes import Notes

__all__ = ["CLIENTS", "WORKERS", "Crew"]

WORKERS = ("worker", "prefetching worker", "asyncio worker", "raw worker")
CLIENTS = ("client", "asyncio client", "raw client", "odd")
SUBMITTING = 3
STOPPED_S = (0.5, 4.0)
PAUSE_S = 1.0  # at most, before the next one takes its place
STOPS = 0.25  # the share of workers that are stopped, and not killed
SAID = 1000  # characters of what it has said
HERE = Path(__file__).parent

Later = Callable[[float, Callable[[], None]], None]


class Crew:
    """`later` is called with seconds and what to do then."""

    def __init__(
        self, server: int, port: int, unix: Path, env: dict[str, str], folder: Path, rate: float, notes: Notes
    ) -> None:
        self._server = psutil.Process(server)
        self._words = [str(port), str(unix)]
        self._env, self._rate, self._notes = env, rate, notes
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped: set[int] = set()
        self._going_on = True
        self.faults: list[str] = []

    def start(self, role: str) -> None:
        if not self._going_on:
            return
        words = [role, *self._words, str(random.randrange(1 << 30)), str(self._rate / SUBMITTING)]
        with open(self._folder / f"{role}.log", "wb") as log:
            self._processes[role] = subprocess.Popen(
                [sys.executable, str(HERE / "actor.py"), *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._env,
                start_new_session=True,  # Ctrl-C is for who started them
            )

    def look(self) -> None:
        """Who has ended by itself is told of, and started again."""
        for role, process in list(self._processes.items()):
            if process.poll() is not None:
                self.faults.append(f"the {role} ended by itself, with code {process.returncode}: {self._said(role)}")
                self._reap(role)
                self.start(role)

    def _said(self, role: str) -> str:
        return (self._folder / f"{role}.log").read_text(errors="replace")[-SAID:].replace("\n", " / ")

    def _reap(self, role: str) -> int:
        process = self._processes.pop(role)
        if process.stdin is not None:
            process.stdin.close()
        return process.wait()

    # -- harm

    def harm(self, later: Later) -> None:
        """Kill or stop somebody."""
        supervised = self._supervised()
        role = random.choice([*self._processes, *(["supervised"] if supervised else [])] or [""])
        if role == "supervised":
            self._notes.write("kills", pid=supervised[0])
            with suppress(ProcessLookupError):
                os.kill(supervised[0], signal.SIGKILL)
        elif role in WORKERS and random.random() < STOPS:
            self._stop(self._processes[role].pid, later)
        elif role:
            self._notes.write("kills", pid=self._processes[role].pid)
            self._processes[role].kill()
            self._reap(role)
            later(random.uniform(0, PAUSE_S), lambda: self.start(role))

    def _supervised(self) -> list[int]:
        """The workers of the server's own supervisor: the children of its child."""
        with suppress(psutil.NoSuchProcess):
            return [one.pid for child in self._server.children() for one in child.children()]
        return []

    def _stop(self, pid: int, later: Later) -> None:
        if pid in self._stopped:
            return
        self._signal([pid], signal.SIGSTOP)
        self._stopped.add(pid)
        later(random.uniform(*STOPPED_S), lambda: self._go_on(pid))

    def _go_on(self, pid: int) -> None:
        if pid in self._stopped:
            self._stopped.remove(pid)
            if any(process.pid == pid for process in self._processes.values()):
                self._signal([pid], signal.SIGCONT)

    @contextmanager
    def held(self) -> Iterator[None]:
        """All stand still, but for the server, its own worker, and those who are stopped anyway."""
        pids = [process.pid for process in self._processes.values() if process.pid not in self._stopped]
        self._signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(pids, signal.SIGCONT)

    def _signal(self, pids: list[int], number: int) -> None:
        for pid in pids:
            self._notes.write("stops", pid=pid)
            os.kill(pid, number)

    # -- the end

    def calm_down(self) -> None:
        """All run that are to run, and nobody is harmed any more."""
        for pid in list(self._stopped):
            self._go_on(pid)
        for role in (*WORKERS, *CLIENTS):
            if role not in self._processes:
                self.start(role)
        self._going_on = False

    def leave(self, roles: Iterable[str], patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        for role in roles:
            self._processes[role].terminate()
        for role in roles:
            process = self._processes[role]
            try:
                code = process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.faults.append(f"the {role} did not leave within {patience_s:g} s")
                process.kill()
            else:
                if code:
                    self.faults.append(f"the {role} left with code {code}: {self._said(role)}")
            self._reap(role)

    def close(self) -> None:
        """Whatever happened."""
        self._going_on = False
        for role, process in list(self._processes.items()):
            process.kill()
            self._reap(role)
