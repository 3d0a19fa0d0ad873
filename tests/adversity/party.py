# SPDX-License-Identifier: MIT
"""A small party on a server, played by sockets that speak packets: a client, one that hangs up, a worker, and an administrator.

As real ones do they come back when their connection breaks, and submit once more what was not acknowledged, or has not ended. What
they are owed is checked as they go: each result is the right one and comes once, and an acknowledged background job is run.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from speak import cut, request

PATIENCE_S = 10.0
LARGE = bytes(range(256)) * 80  # more than a packet that is read in one piece


@dataclass
class Wanted:
    """A job that a client wants done."""

    workload: bytes
    background: bool = False
    acknowledged: bool = False
    ended: bool = False

    @property
    def submission(self) -> bytes:
        return request("SUBMIT_JOB_BG" if self.background else "SUBMIT_JOB", b"f", b"", self.workload)


class Side:
    """One of them. Connects when there is something to do."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.socket: socket.socket | None = None
        self.losses = 0
        self._rest = b""

    def fileno(self) -> int:
        assert self.socket is not None
        return self.socket.fileno()

    def connect(self) -> None:
        path = self._address.removeprefix("unix:")
        if path != self._address:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE_S)
            self.socket.connect(path)
        else:
            host, _, port = self._address.rpartition(":")
            self.socket = socket.create_connection((host, int(port)), PATIENCE_S)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self.greet()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def say(self, data: bytes) -> None:
        """What cannot be sent any more shows in the next `hear`."""
        assert self.socket is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def hear(self) -> None:
        assert self.socket is not None
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if data:
            self._rest = self.take(self._rest + data)
        else:
            self.lose()

    def lose(self) -> None:
        self.losses += 1
        self.close()
        self.lost()
        if not self.is_content:
            self.connect()

    def take(self, data: bytes) -> bytes:
        """Packets, one after the other; what a handler that begins anew leaves of the old connection is of no use."""
        packets, rest = cut(data)
        ours = self.socket
        for name, args in packets:
            if self.socket is not ours:
                return b""
            getattr(self, "on_" + name.lower())(*args)
        return rest

    def greet(self) -> None:
        """What is said first."""

    def lost(self) -> None:
        """The connection is."""

    @property
    def is_content(self) -> bool:
        raise NotImplementedError


class Client(Side):
    """Has two batches of jobs, the second once the first is done, and asks meanwhile."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._later = [Wanted(b"third"), Wanted(LARGE), Wanted(b"background " + LARGE, background=True)]
        self.jobs = [Wanted(b"first"), Wanted(b"background", background=True), Wanted(b"vanish")]
        self._todo = list(self.jobs)
        self._awaiting: deque[Wanted] = deque()
        self._running: dict[bytes, Wanted] = {}
        self._echoed = False

    @property
    def is_content(self) -> bool:
        return self._echoed and not (self._todo or self._awaiting or self._running or self._later)

    def greet(self) -> None:
        self._echoed = False
        self.say(request("ECHO_REQ", LARGE))
        self._submit()

    def _submit(self) -> None:
        self._awaiting += self._todo
        packets = [job.submission for job in self._todo]
        self._todo.clear()
        for packet in packets:
            self.say(packet)

    def _go_on(self) -> None:
        if not (self._todo or self._awaiting or self._running):
            self._todo, self._later = self._later, []
            self.jobs += self._todo
        self._submit()

    def lost(self) -> None:
        self._todo += [*self._awaiting, *self._running.values()]
        self._awaiting.clear()
        self._running.clear()

    def on_echo_res(self, data: bytes) -> None:
        assert data == LARGE
        self._echoed = True

    def on_job_created(self, handle: bytes) -> None:
        job = self._awaiting.popleft()
        job.acknowledged = True
        if not job.background:
            self._running[handle] = job
            self.say(request("GET_STATUS", handle))
        self._go_on()

    def on_status_res(self, handle: bytes, known: bytes, *_: bytes) -> None:
        assert known == b"1" or handle not in self._running, "a job that is waited for is not known"

    def on_work_data(self, handle: bytes, data: bytes) -> None:
        assert self._running[handle].workload.startswith(data)

    def on_work_status(self, handle: bytes, *_: bytes) -> None:
        assert handle in self._running

    def on_work_complete(self, handle: bytes, result: bytes) -> None:
        job = self._running.pop(handle)
        assert not job.ended and result == job.workload[::-1]
        job.ended = True
        self._go_on()

    def on_work_fail(self, handle: bytes) -> None:
        """For want of memory, say: once more."""
        self._todo.append(self._running.pop(handle))
        self._go_on()

    def on_error(self, code: bytes, *_: bytes) -> None:
        """What was refused is not known to a client that has asked several things."""
        self.lose()


class Impatient(Side):
    """Submits a job, and hangs up without waiting for it."""

    is_content = False
    done = False

    def greet(self) -> None:
        self.say(request("SUBMIT_JOB", b"f", b"", b"orphan"))

    def lose(self) -> None:
        self.close()
        self.done = True

    def on_job_created(self, handle: bytes) -> None:
        self.lose()

    def on_error(self, *_: bytes) -> None:
        self.lose()


class Worker(Side):
    """Does all that there is to do, and vanishes once with a job in hand."""

    is_content = False

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.ran: Counter[bytes] = Counter()

    def greet(self) -> None:
        self.say(request("CAN_DO", b"f") + request("GRAB_JOB_UNIQ"))

    def on_no_job(self) -> None:
        self.say(request("PRE_SLEEP"))

    def on_noop(self) -> None:
        self.say(request("GRAB_JOB_UNIQ"))

    def on_job_assign_uniq(self, handle: bytes, function: bytes, unique: bytes, workload: bytes) -> None:
        self.ran[workload] += 1
        if workload == b"vanish" and self.ran[workload] == 1:
            self.lose()
            return
        self.say(request("WORK_DATA", handle, workload[:10]) + request("WORK_STATUS", handle, b"1", b"2"))
        self.say(request("WORK_COMPLETE", handle, workload[::-1]) + request("GRAB_JOB_UNIQ"))

    def on_error(self, code: bytes, *_: bytes) -> None:
        """A worker that does not know what was refused had better begin anew."""
        self.lose()


class Administrator(Side):
    """Asks one text command after the other, each until it is answered."""

    def __init__(self, address: str, *commands: str) -> None:
        super().__init__(address)
        self._commands = deque(commands)
        self.answers: dict[str, str] = {}

    @property
    def is_content(self) -> bool:
        return not self._commands

    def greet(self) -> None:
        self._ask()

    def _ask(self) -> None:
        if self._commands:
            self.say(self._commands[0].encode() + b"\n")

    def take(self, data: bytes) -> bytes:
        if data.startswith((b"\0RES", b"ERR")):
            self.lose()  # it was turned away, or there was no memory for the answer
            return b""
        text = data.decode()
        listing = self._commands[0] != "version"
        if not (text == ".\n" or text.endswith("\n.\n") if listing else text.endswith("\n")):
            return data
        self.answers[self._commands.popleft()] = text
        self._ask()
        return b""


class Party:
    """All of them, in one thread: the worker by the second address, the others by the first."""

    def __init__(self, addresses: list[str]) -> None:
        first, last = addresses[0], addresses[-1]
        self.client, self.impatient, self.worker = Client(first), Impatient(last), Worker(last)
        self.administrator = Administrator(first, "version", "status", "workers", "prioritystatus")
        self.sides: list[Side] = [self.client, self.worker, self.impatient, self.administrator]

    def play(self) -> None:
        """Until everybody has what they want."""
        try:
            for side in self.sides:
                side.connect()
            self._until(self._is_over)
        finally:
            for side in self.sides:
                side.close()

    def _is_over(self) -> bool:
        done = self.impatient.done and self.client.is_content and self.administrator.is_content
        return done and all(self.worker.ran[job.workload] for job in self.client.jobs)

    def _until(self, is_over: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_over():
            open_ones = [side for side in self.sides if side.socket is not None]
            ready = select.select(open_ones, [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"nothing more came for {[type(side).__name__ for side in open_ones if not side.is_content]}"
            for side in ready:
                if side.socket is not None:
                    side.hear()


def ask(address: str, *commands: str) -> dict[str, str]:
    """The answers to text commands."""
    one = Administrator(address, *commands)
    one.connect()
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not one.is_content:
            assert select.select([one], [], [], max(0.0, deadline - time.monotonic()))[0], "the server does not answer"
            one.hear()
    finally:
        one.close()
    return one.answers
