# SPDX-License-Identifier: MIT
"""A page of shared memory on which every worker writes what it does, and which the supervisor and its caller read.

Anonymous memory: it has no name and no file, and goes with the last process that maps it. A record has one writer, the
worker, while that lives, and the supervisor before and after. Writing takes no system call. Each number is written whole;
a reader that looks while a job begins may see the name of the one before.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["NEVER", "SLOTS", "Board", "Record", "WorkerInfo"]

SLOTS = 1024  # twice what SupervisorConfig.workers may be, so that each can be replaced before it leaves
NEVER = 2**63 - 1

# numbers of 64 bits: the board's head, then one record for each slot
_HEAD = 8
_LOOKS_AT = 0
_SIZE = 32
_PID, _GENERATION, _STATE, _JOBS, _BUSY_SINCE, _BUSY_TOTAL, _DEADLINE, _TASK, _BEGUN, _NAME_LENGTH, _NAME = range(11)
_NAME_BYTES = (_SIZE - _NAME) * 8
_STARTING, _READY, _LEAVING = range(3)


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as its record shows it now. One that is leaving is ready no more, but may have a job in hand.

    `busy_s` includes the job in hand; `function` is empty between jobs. `age_s` is the time since it was forked.
    """

    slot: int
    pid: int
    generation: int
    ready: bool
    leaving: bool
    jobs: int
    busy_s: float
    function: str
    task: int
    age_s: float


class Board:
    """The shared page. `fd` is a memfd that an executed process can be given, or -1 where forking is enough."""

    def __init__(self, *, fd: int = -1, named: bool = False) -> None:
        size = (_HEAD + SLOTS * _SIZE) * 8
        self.fd = fd
        if named and fd < 0:
            self.fd = os.memfd_create("fastgear-board")
            os.ftruncate(self.fd, size)
        self._map = mmap.mmap(self.fd, size)
        self._bytes = memoryview(self._map)
        self._numbers = self._bytes.cast("q")
        if fd < 0:
            self.looks_at_ns = NEVER

    def record(self, slot: int) -> Record:
        return Record(slot, self._numbers, self._bytes)

    @property
    def looks_at_ns(self) -> int:
        """When the supervisor will look at deadlines next without being asked, on time.monotonic_ns's clock."""
        return self._numbers[_LOOKS_AT]

    @looks_at_ns.setter
    def looks_at_ns(self, value: int) -> None:
        self._numbers[_LOOKS_AT] = value

    def workers(self) -> tuple[WorkerInfo, ...]:
        """All that live, as their records show them."""
        now_ns = time.monotonic_ns()
        return tuple(record.info(now_ns) for record in self._records() if record.pid)

    def _records(self) -> Iterator[Record]:
        for slot in range(SLOTS):
            if self._numbers[_HEAD + slot * _SIZE + _PID]:
                yield self.record(slot)

    def close(self) -> None:
        """Unmap it here. Records of it must not be used any more."""
        self._numbers.release()
        self._bytes.release()
        self._map.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Record:
    """One slot's part of the board."""

    __slots__ = ("_at", "_bytes", "_name", "_numbers", "slot")

    def __init__(self, slot: int, numbers: memoryview, view: memoryview) -> None:
        self.slot = slot
        self._at = _HEAD + slot * _SIZE
        self._numbers = numbers
        self._bytes = view
        self._name: str | None = None

    # -- the worker's side

    def set_ready(self, pid: int) -> None:
        """From now on it works, whether the supervisor has come to see to it or not."""
        self.pid = pid
        if self._numbers[self._at + _STATE] == _STARTING:
            self._numbers[self._at + _STATE] = _READY

    def begin(self, function: str, task: int = 0, deadline_ns: int = 0) -> None:
        """A job begins. `deadline_ns` is when its time is over, 0 for never."""
        numbers, at = self._numbers, self._at
        if function is not self._name:
            self._write_name(function)
        numbers[at + _TASK] = task
        numbers[at + _DEADLINE] = deadline_ns
        numbers[at + _BUSY_SINCE] = time.monotonic_ns()

    def end(self) -> int:
        """It is over. Returns the number of jobs so far."""
        numbers, at = self._numbers, self._at
        numbers[at + _DEADLINE] = 0
        numbers[at + _BUSY_TOTAL] += time.monotonic_ns() - numbers[at + _BUSY_SINCE]
        numbers[at + _BUSY_SINCE] = 0
        jobs = numbers[at + _JOBS] + 1
        numbers[at + _JOBS] = jobs
        return jobs

    def _write_name(self, function: str) -> None:
        name = function.encode("utf-8", "replace")[:_NAME_BYTES]
        start = (self._at + _NAME) * 8
        self._numbers[self._at + _NAME_LENGTH] = 0
        self._bytes[start : start + len(name)] = name
        self._numbers[self._at + _NAME_LENGTH] = len(name)
        self._name = function

    # -- the supervisor's side

    def open(self, generation: int) -> None:
        """For a worker that is about to be forked."""
        self.clear()
        self._numbers[self._at + _GENERATION] = generation
        self._numbers[self._at + _BEGUN] = time.monotonic_ns()

    def clear(self) -> None:
        for number in range(_NAME):
            self._numbers[self._at + number] = 0

    @property
    def pid(self) -> int:
        """0 for a free slot."""
        return self._numbers[self._at + _PID]

    @pid.setter
    def pid(self, value: int) -> None:
        self._numbers[self._at + _PID] = value

    def set_leaving(self) -> None:
        self._numbers[self._at + _STATE] = _LEAVING

    @property
    def generation(self) -> int:
        return self._numbers[self._at + _GENERATION]

    @property
    def jobs(self) -> int:
        return self._numbers[self._at + _JOBS]

    @property
    def task(self) -> int:
        """What `begin` was given last."""
        return self._numbers[self._at + _TASK]

    @property
    def busy(self) -> bool:
        return self._numbers[self._at + _BUSY_SINCE] != 0

    @property
    def deadline_ns(self) -> int:
        return self._numbers[self._at + _DEADLINE]

    @property
    def function(self) -> str:
        """The name that `begin` was given last."""
        start = (self._at + _NAME) * 8
        length = min(max(0, self._numbers[self._at + _NAME_LENGTH]), _NAME_BYTES)
        return bytes(self._bytes[start : start + length]).decode("utf-8", "replace")

    def info(self, now_ns: int) -> WorkerInfo:
        numbers, at = self._numbers, self._at
        since = numbers[at + _BUSY_SINCE]
        busy_ns = numbers[at + _BUSY_TOTAL] + (max(0, now_ns - since) if since else 0)
        return WorkerInfo(
            slot=self.slot,
            pid=numbers[at + _PID],
            generation=numbers[at + _GENERATION],
            ready=numbers[at + _STATE] == _READY,
            leaving=numbers[at + _STATE] == _LEAVING,
            jobs=numbers[at + _JOBS],
            busy_s=busy_ns / 1e9,
            function=self.function if since else "",
            task=numbers[at + _TASK] if since else 0,
            age_s=max(0, now_ns - numbers[at + _BEGUN]) / 1e9,
        )
