# SPDX-License-Identifier: MIT
"""Clients that submit background jobs, and workers that do them, on a server that may die at any moment."""

from __future__ import annotations

import random
import select
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from durables.ledger import Ledger
from durables.wire import (
    CAN_DO,
    ERROR,
    GRAB_JOB,
    JOB_ASSIGN,
    JOB_CREATED,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW_BG,
    WORK_COMPLETE,
    Line,
    Packet,
    request,
)

__all__ = ["LATEST_S", "Load"]

FUNCTION = b"f"
LATEST_S = 2  # how long a delayed job may have to wait
_WINDOW = 50
_GRABS = 8
_HANG_UP = 0.03  # the chance of a worker to do so after each recv
_AGAIN_S = 0.005
_LARGE = 100_000
_KINDS = (SUBMIT_JOB_BG, SUBMIT_JOB_BG, SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_LOW_BG)


def submission(name: bytes, chance: random.Random, varied: bool) -> bytes:
    """With `varied`, some are without a unique, delayed, or large; else only priorities differ."""
    unique = b"" if varied and chance.random() < 0.3 else name
    workload = name + b" " * chance.choice((1, 16, 64))
    draw = chance.random() if varied else 1.0
    if draw < 0.01:
        return request(
            SUBMIT_JOB_EPOCH, FUNCTION, unique, b"%d" % (time.time() + chance.randint(0, LATEST_S)), workload
        )
    if draw < 0.02:
        workload += b" " * _LARGE
    return request(chance.choice(_KINDS), FUNCTION, unique, workload)


class _Client:
    def __init__(self, line: Line, ledger: Ledger, chance: random.Random, varied: bool) -> None:
        self.line, self._ledger, self._chance, self._varied = line, ledger, chance, varied
        self._waiting: deque[tuple[bytes, int]] = deque()

    def go_on(self) -> None:
        """In portions of any size, so that what is committed together is not always a whole window."""
        requests = []
        for _ in range(self._chance.randint(0, _WINDOW - len(self._waiting))):
            name = self._ledger.new_name()
            self._waiting.append((name, len(self._ledger.heard)))
            requests.append(submission(name, self._chance, self._varied))
        if requests:
            self.line.send(*requests)

    def wants_to_go(self) -> bool:
        return False

    def take(self, packet: Packet) -> None:
        number, args = packet
        name, heard = self._waiting.popleft()
        if number == JOB_CREATED:
            self._ledger.acknowledge(name, args[0], heard)
        elif number == ERROR:
            self._ledger.refused[b": ".join(args)] += 1
        else:
            raise ValueError(f"a client got packet {number}: {args}")


class _Worker:
    """Does at once whatever it gets. With `hangs_up` it goes at random, and the server may not know of all that it had done."""

    def __init__(self, line: Line, ledger: Ledger, chance: random.Random, backlog: int | None, hangs_up: bool) -> None:
        self.line, self._ledger, self._chance = line, ledger, chance
        self._backlog, self._hangs_up = backlog, hangs_up
        self._asked: deque[list[bytes]] = deque()  # grabs without an answer, and the ends sent before each
        self._done: list[bytes] = []
        self._rest_until = 0.0
        self.idle = False
        line.send(request(CAN_DO, FUNCTION))

    def go_on(self) -> None:
        waiting = len(self._ledger.acknowledged) - len(self._ledger.runs)
        if time.monotonic() < self._rest_until or (self._backlog is not None and waiting < self._backlog):
            return
        while len(self._asked) < _GRABS:
            self._asked.append(self._done)
            self._done = []
            self.line.send(request(GRAB_JOB))

    def take(self, packet: Packet) -> None:
        number, args = packet
        self._ledger.heard += self._asked.popleft()
        self.idle = number != JOB_ASSIGN
        if self.idle:
            self._rest_until = time.monotonic() + _AGAIN_S
            return
        handle, _, workload = args
        name = workload.rstrip()
        self._ledger.run(name, handle)
        self._done.append(name)
        self.line.send(request(WORK_COMPLETE, handle, b""))

    def wants_to_go(self) -> bool:
        if not self._hangs_up or self._chance.random() > _HANG_UP:
            return False
        self._ledger.unsure.update(self._done, *self._asked)
        return True


class Load:
    """Two clients and two workers, who leave `backlog` jobs waiting, so that each start has some to take up.

    With None they run all, and there are no clients.
    """

    def __init__(self, port: int, ledger: Ledger, chance: random.Random, *, varied: bool, backlog: int | None) -> None:
        self._port, self._ledger, self._chance, self._backlog = port, ledger, chance, backlog
        self._hang_up = varied and backlog is not None
        clients = 0 if backlog is None else 2
        self._members: list[_Client | _Worker] = [_Client(Line(port), ledger, chance, varied) for _ in range(clients)]
        self._members += [self._worker() for _ in range(2)]

    def _worker(self) -> _Worker:
        return _Worker(Line(self._port), self._ledger, self._chance, self._backlog, self._hang_up)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Until that, or until the server has died and all that it had said is read."""
        poll = select.poll()
        by_fd: dict[int, _Client | _Worker] = {}

        def add(member: _Client | _Worker) -> None:
            by_fd[member.line.socket.fileno()] = member
            poll.register(member.line.socket, select.POLLIN)

        for member in self._members:
            add(member)
        while by_fd and not is_over():
            for member in by_fd.values():
                member.go_on()
            for fd, _ in poll.poll(5):
                member = by_fd[fd]
                for packet in member.line.receive():
                    member.take(packet)
                if member.line.ended or member.wants_to_go():
                    poll.unregister(fd)
                    del by_fd[fd]
                    member.line.socket.close()
                    self._members.remove(member)
                    if not member.line.ended:
                        with suppress(OSError):  # the server may have died meanwhile
                            self._members.append(self._worker())
                            add(self._members[-1])

    @property
    def idle(self) -> bool:
        """Whether no worker got anything when it last asked."""
        return all(member.idle for member in self._members if isinstance(member, _Worker))

    def close(self) -> None:
        for member in self._members:
            member.line.socket.close()
