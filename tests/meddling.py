# SPDX-License-Identifier: MIT
"""A proxy on loopback that meddles with one connection at one byte of one direction, and carries all others as they are.

One thread carries them all, so that a session through it takes a millisecond or two. Each treatment is of the byte `at`, counted
from 0: those before it have gone on, and it has not.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

__all__ = ["BREAKING", "TREATMENTS", "WAYS", "Meddler"]

BREAKING = ("cut", "half-close", "reset")  # the connection does not survive these
TREATMENTS = (*BREAKING, "stall", "split")
WAYS = ("up", "down")  # to the server, and from it
STALL_S = 0.002
_RESET = struct.pack("ii", 1, 0)
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Plan:
    """What is to be done to the next connection."""

    treatment: str
    way: str
    at: int


class Way:
    """One direction of a connection."""

    def __init__(self, name: str, source: socket.socket, sink: socket.socket) -> None:
        self.name, self.source, self.sink = name, source, sink
        self.passed = 0
        self.is_over = False  # its end has been passed on, or it was closed half
        self.held = b""  # by a stall


class Line:
    """A connection from a peer to the server."""

    def __init__(self, number: int, near: socket.socket, far: socket.socket, plan: Plan | None) -> None:
        self.number, self.plan = number, plan
        self.socks = (near, far)
        self.ways = {"up": Way("up", near, far), "down": Way("down", far, near)}
        self.resume_at = 0.0

    def __repr__(self) -> str:
        return f"line {self.number}: {self.ways['up'].passed} bytes up, {self.ways['down'].passed} down"


class Meddler:
    """Between peers and the server at `target`. A thread of its own runs from the beginning to `close`."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.lines: dict[int, Line] = {}  # those that are open
        self.passed = {"up": 0, "down": 0}  # by the last one that has ended
        self.applied = 0  # plans
        self._numbers = count()
        self._plan: Plan | None = None
        self._ended = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="meddler")
        self._thread.start()

    def meddle(self, treatment: str, way: str, at: int) -> None:
        """Do that to the next connection; those after it are carried as they are."""
        self._plan = Plan(treatment, way, at)

    def is_idle(self) -> bool:
        return not self.lines

    def close(self) -> None:
        self._ended = True
        self._wake_write.send(b"!")
        self._thread.join(_PATIENCE_S)
        for line in list(self.lines.values()):
            self._end(line)
        for sock in (self._listener, self._wake_read, self._wake_write):
            sock.close()
        self._selector.close()

    def __enter__(self) -> Meddler:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- the thread

    def _run(self) -> None:
        while not self._ended:
            stalled = [line for line in self.lines.values() if line.resume_at]
            left = max(0.0, min(line.resume_at for line in stalled) - time.monotonic()) if stalled else None
            for key, _ in self._selector.select(left):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data is not None and key.data[0].number in self.lines:
                    self._carry(*key.data)
            for line in stalled:
                if line.resume_at <= time.monotonic() and line.number in self.lines:
                    self._resume(line)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(self._target, _PATIENCE_S)
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(_PATIENCE_S)
        plan, self._plan = self._plan, None
        line = Line(next(self._numbers), near, far, plan)
        self.lines[line.number] = line
        for way in line.ways.values():
            self._selector.register(way.source, selectors.EVENT_READ, (line, way))

    def _carry(self, line: Line, way: Way) -> None:
        try:
            data = way.source.recv(1 << 16)
            if not data:
                self._pass_end_on(line, way)
            elif not way.is_over:
                self._pass_on(line, way, data)
        except OSError:
            self._end(line)

    def _pass_on(self, line: Line, way: Way, data: bytes) -> None:
        plan = line.plan
        if plan is None or plan.way != way.name or not way.passed <= plan.at < way.passed + len(data):
            self._send(way, data)
            return
        line.plan = None
        self.applied += 1
        split = plan.at - way.passed
        self._send(way, data[:split])
        self._treat(plan.treatment, line, way, data[split:])

    def _treat(self, treatment: str, line: Line, way: Way, rest: bytes) -> None:
        if treatment == "split":
            self._send(way, rest)
        elif treatment == "stall":
            way.held = rest
            line.resume_at = time.monotonic() + STALL_S
            self._selector.unregister(way.source)
        elif treatment == "half-close":
            way.sink.shutdown(socket.SHUT_WR)
            way.is_over = True
        else:
            self._end(line, reset=treatment == "reset")

    def _resume(self, line: Line) -> None:
        line.resume_at = 0.0
        try:
            for way in line.ways.values():
                if way.held:
                    held, way.held = way.held, b""
                    self._send(way, held)
                    self._selector.register(way.source, selectors.EVENT_READ, (line, way))
        except OSError:
            self._end(line)

    @staticmethod
    def _send(way: Way, data: bytes) -> None:
        if data:
            way.sink.sendall(data)
            way.passed += len(data)

    def _pass_end_on(self, line: Line, way: Way) -> None:
        self._selector.unregister(way.source)
        if not way.is_over:
            way.sink.shutdown(socket.SHUT_WR)
            way.is_over = True
        if all(sock not in self._selector.get_map() for sock in line.socks) and not line.resume_at:
            self._end(line)

    def _end(self, line: Line, *, reset: bool = False) -> None:
        self.passed = {name: way.passed for name, way in line.ways.items()}
        for sock in line.socks:
            with suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            else:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self.lines.pop(line.number, None)
