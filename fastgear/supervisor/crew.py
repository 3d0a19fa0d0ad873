# SPDX-License-Identifier: MIT
"""The worker processes of a supervisor: forking, signalling, hearing and reaping them. Decides nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from fastgear.config import SupervisorConfig
from fastgear.supervisor.board import SLOTS, Board, Record
from fastgear.supervisor.channel import MAX_TEXT
from fastgear.supervisor.child import REPORT, Context, die_with_parent, flush_streams, run_worker
from fastgear.supervisor.events import Reason
from fastgear.supervisor.policy import FOREVER, Child, lowered, lowered_jobs
from fastgear.supervisor.signals import HANDLED, handled_signals, reset_signals, signals_blocked

__all__ = ["Crew"]


class Crew:
    """Those that live. `fileno()` is readable when one of them has reported something."""

    def __init__(
        self,
        main: Callable[..., Any],
        args: tuple[Any, ...],
        config: SupervisorConfig,
        *,
        board: Board,
        in_child: Callable[[], None],
    ) -> None:
        self._main, self._args, self._config = main, args, config
        self._board, self._in_child = board, in_child
        self._children: dict[int, Child] = {}
        self._generation = 0
        self._pid = 0
        self._reset = {*handled_signals(), *HANDLED}
        self._reports, self._reporting = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._reports.setblocking(False)

    def open(self) -> None:
        """In the process that is going to fork them."""
        self._pid = os.getpid()

    def close(self) -> None:
        self._reports.close()
        self._reporting.close()

    def fileno(self) -> int:
        return self._reports.fileno()

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Child]:
        return iter(self._children.values())

    def get(self, pid: int) -> Child | None:
        return self._children.get(pid)

    # -- starting

    def start(self, count: int, now: float) -> list[Child]:
        """Fork so many; fewer when the system, or the board, has no room for more."""
        used = {child.record.slot for child in self}
        free = (slot for slot in range(SLOTS) if slot not in used)
        records = [self._board.record(slot) for slot in itertools.islice(free, count)]
        first = self._generation + 1
        self._generation += len(records)
        for generation, record in enumerate(records, first):
            record.open(generation)
        pids = self._fork(records, [lowered_jobs(self._config) for _ in records])
        children = [Child(pid, first + n, records[n], now) for n, pid in enumerate(pids)]
        for child in children:
            self._register(child)
        return children

    def _fork(self, records: list[Record], max_jobs: list[int]) -> list[int]:
        """One fork right after the other: what is written to between two of them is copied, page by page, each time."""
        pids: list[int] = []
        flush_streams()
        with signals_blocked(), contextlib.suppress(OSError):
            for record, limit in zip(records, max_jobs, strict=True):
                pid = os.fork()
                if pid == 0:
                    self._become_worker(record, limit)
                pids.append(pid)
        return pids

    def _register(self, child: Child) -> None:
        with contextlib.suppress(OSError):
            os.setpgid(child.pid, child.pid)  # here as well as there, so that it holds from now on
        child.record.pid = child.pid
        child.max_age_at = child.started + lowered(self._config.max_age_s, self._config.jitter)
        child.max_rss = lowered(self._config.max_rss, self._config.jitter)
        self._children[child.pid] = child

    def _become_worker(self, record: Record, max_jobs: int) -> NoReturn:
        try:
            die_with_parent(self._pid)
            os.setpgid(0, 0)
            reset_signals(self._reset)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            self._in_child()
            self._reports.close()
            limit_ns = int(self._config.time_limit_s * 1e9)
            context = Context(record, self._board, max_jobs, limit_ns, self._reporting.fileno())
            run_worker(self._main, self._args, context)
        finally:
            os._exit(1)

    # -- signals

    def retire(self, child: Child, reason: Reason) -> None:
        """Tell it to leave, once."""
        if child.serving:
            child.leaving = reason
            child.record.set_leaving()
            child.kill_at = time.monotonic() + (self._config.drain_s or FOREVER)
            _signal(child.pid, signal.SIGTERM)

    def kill(self, child: Child, reason: Reason) -> None:
        """The worker, and what it started and left in its process group."""
        child.leaving = child.leaving or reason
        child.record.set_leaving()
        child.killed = True
        _signal(child.pid, signal.SIGKILL)
        _signal(-child.pid, signal.SIGKILL)

    def kill_all(self, reason: Reason) -> None:
        for child in self:
            if not child.killed:
                self.kill(child, reason)

    # -- what is heard of them

    def reports(self) -> Iterator[tuple[Child, bytes, str]]:
        """What those that live have said since: a kind, and a text."""
        with contextlib.suppress(BlockingIOError):
            while packet := self._reports.recv(8 * MAX_TEXT):
                kind, pid = REPORT.unpack_from(packet)
                if pid in self._children:
                    yield self._children[pid], kind, packet[REPORT.size :].decode("utf-8", "replace")

    def dead(self) -> Iterator[tuple[Child, int]]:
        """Reap all that are dead, strangers too, who come to process 1: workers with their exit codes, still to be removed."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            child = self._children.get(found.si_pid)
            if child is not None and found.si_status != 0:
                _signal(-child.pid, signal.SIGKILL)  # what it leaves in its group; the number is still its own
            _, status = os.waitpid(found.si_pid, 0)
            if child is not None:
                yield child, os.waitstatus_to_exitcode(status)

    def remove(self, child: Child) -> None:
        """It is dead, and its slot free."""
        child.record.clear()
        del self._children[child.pid]


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)
