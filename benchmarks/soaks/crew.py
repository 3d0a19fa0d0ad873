# SPDX-License-Identifier: MIT
"""The processes that take part: started; at random killed, stopped or told to leave, and started again; and all told to leave."""

from __future__ import annotations

import math
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
LOOK_S = 0.05
PAUSE_S = 1.0  # at most, before the next one takes its place
STOPS, LEAVES = 0.25, 0.2  # the shares of workers that are stopped, and of all that are told to leave, and not killed
LEAVE_S = 70.0
SAID = 1000  # characters of what it has said
HERE = Path(__file__).parent

Later = Callable[[float, Callable[[], None]], None]


@contextmanager
def _not_yet() -> Iterator[None]:
    """Who is started meanwhile hears of SIGTERM when it is ready for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
        self._leaving: dict[str, float] = {}  # until when, by role
        self._going_on = True
        self.faults: list[str] = []

    def start(self, role: str) -> None:
        if not self._going_on:
            return
        words = [role, *self._words, str(random.randrange(1 << 30)), str(self._rate / SUBMITTING)]
        with open(self._folder / f"{role}.log", "wb") as log, _not_yet():
            self._processes[role] = subprocess.Popen(
                [sys.executable, str(HERE / "actor.py"), *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._env,
                start_new_session=True,  # Ctrl-C is for who started them
            )

    def look(self) -> None:
        """Who has ended is started again; it is a fault if nobody has told it to."""
        for role, process in list(self._processes.items()):
            if process.poll() is not None:
                if role not in self._leaving:
                    self.faults.append(f"the {role} ended by itself, with code {process.returncode}")
                self._reap(role, 0)
                self.start(role)
            elif time.monotonic() > self._leaving.get(role, math.inf):
                self.faults.append(f"the {role} did not leave within {LEAVE_S:g} s")
                process.kill()
                self._reap(role, -signal.SIGKILL)
                self.start(role)

    def _reap(self, role: str, *expected: int) -> None:
        """It has ended or does so now, without having said anything, and with one of those codes."""
        code = self._end(role)
        said = (self._folder / f"{role}.log").read_text(errors="replace")[-SAID:].replace("\n", " / ")
        if said or code not in expected:
            self.faults.append(f"the {role} left with code {code}, having said: {said or 'nothing'}")

    def _end(self, role: str) -> int:
        process = self._processes.pop(role)
        self._leaving.pop(role, None)
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
        elif role and random.random() < LEAVES:
            self._tell_to_leave(role)
        elif role:
            self._notes.write("kills", pid=self._processes[role].pid)
            self._processes[role].kill()
            self._reap(role, -signal.SIGKILL, 0 if role in self._leaving else -signal.SIGKILL)
            later(random.uniform(0, PAUSE_S), lambda: self.start(role))

    def _supervised(self) -> list[int]:
        """The workers of the server's own supervisor: the children of its child."""
        with suppress(psutil.NoSuchProcess):
            return [one.pid for child in self._server.children() for one in child.children()]
        return []

    def _tell_to_leave(self, role: str) -> None:
        if role not in self._leaving:
            self._processes[role].terminate()
            self._leaving[role] = time.monotonic() + LEAVE_S

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
            self._notes.write("stops" if number == signal.SIGSTOP else "goes-on", pid=pid)
            os.kill(pid, number)

    # -- the end

    def calm_down(self) -> None:
        """All run that are to run, and nobody is harmed any more."""
        for pid in list(self._stopped):
            self._go_on(pid)
        self._wait_for_leavers()
        for role in (*WORKERS, *CLIENTS):
            if role not in self._processes:
                self.start(role)

    def leave(self, roles: Iterable[str]) -> None:
        self._going_on = False
        for role in roles:
            self._tell_to_leave(role)
        self._wait_for_leavers()

    def _wait_for_leavers(self) -> None:
        while self._leaving:
            time.sleep(LOOK_S)
            self.look()

    def close(self) -> None:
        """Whatever happened."""
        self._going_on = False
        for role, process in list(self._processes.items()):
            process.kill()
            self._end(role)
