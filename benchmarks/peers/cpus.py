# SPDX-License-Identifier: MIT
"""A CPU for the server and another one for the load, and how long the kernel let a thread wait for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Placed", "Scheduled", "pin", "placed", "ran_ns", "scheduled", "waited_share"]


@dataclass(frozen=True)
class Placed:
    """The CPUs that were given out; None for both where there is but one."""

    server: int | None
    load: int | None

    def __str__(self) -> str:
        if self.server is None:
            return "nothing is pinned, since this process may use one CPU only: server and load share it"
        return f"the server is pinned to CPU {self.server}, the load to CPU {self.load}"


@contextmanager
def placed() -> Iterator[Placed]:
    """This process, and with it the loads that it starts, on a CPU of its own. The servers are to be pinned to the other one."""
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        yield Placed(None, None)
        return
    server, load = sorted(before)[:2]
    os.sched_setaffinity(0, {load})
    try:
        yield Placed(server, load)
    finally:
        os.sched_setaffinity(0, before)


def pin(pid: int, cpu: int | None) -> None:
    """All threads that a process has, unless there is no CPU for it; those that it starts later follow the one that starts them."""
    if cpu is None:
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(thread.name), {cpu})


@dataclass(frozen=True)
class Scheduled:
    """Of a thread, since it began: on a CPU, and ready to run but waiting for one."""

    ran_ns: int
    waited_ns: int


def scheduled(pid: int) -> dict[int, Scheduled]:
    """By thread; empty where the kernel does not tell."""
    found = {}
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError, ValueError):
            ran, waited, _ = map(int, path.read_text().split())
            found[int(path.parent.name)] = Scheduled(ran, waited)
    return found


def ran_ns(before: dict[int, Scheduled], after: dict[int, Scheduled]) -> int:
    """By all threads, from one moment to the other."""
    return sum(one.ran_ns for one in after.values()) - sum(one.ran_ns for one in before.values())


def waited_share(before: dict[int, Scheduled], after: dict[int, Scheduled]) -> float:
    """Of the time that the threads wanted a CPU, from one moment to the other, how much they waited for one."""
    ran = ran_ns(before, after)
    waited = sum(one.waited_ns for one in after.values()) - sum(one.waited_ns for one in before.values())
    return waited / (ran + waited) if ran + waited > 0 else 0.0
