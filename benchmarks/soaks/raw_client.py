# SPDX-License-Identifier: MIT
"""Clients on bare sockets, which see every packet: an end that nobody waits for, an answer that was not due."""

from __future__ import annotations

import random
import select
import time
from collections import Counter, deque
from collections.abc import Callable

from durables.wire import Line, request

from fastgear.protocol.wire import PacketType
from soaks.clients import BACKGROUND, DELAYED, LATEST_S, new_token
from soaks.jobs import function_of, result, workload
from soaks.notes import Notes

__all__ = ["raw_client"]

_FOREGROUND = (PacketType.SUBMIT_JOB, PacketType.SUBMIT_JOB_HIGH, PacketType.SUBMIT_JOB_LOW)
_BACKGROUND = (PacketType.SUBMIT_JOB_BG, PacketType.SUBMIT_JOB_HIGH_BG, PacketType.SUBMIT_JOB_LOW_BG)
_ENDS = {
    PacketType.WORK_COMPLETE: "result",
    PacketType.WORK_FAIL: "fail",
    PacketType.WORK_EXCEPTION: "exception",
}
_UPDATES = (PacketType.WORK_DATA, PacketType.WORK_WARNING)
_CONNECTIONS = 3
_TURN_S = 0.02
_LEAVES = 0.001  # the chance of each turn
_ASKS = 0.05
_PATIENCE_S = 60.0


class _RawClient:
    def __init__(self, port: int, notes: Notes) -> None:
        self.line, self._notes = Line(port), notes
        self._hears_exceptions = random.random() < 0.5
        self._due: deque[tuple[int, str]] = deque()  # answers, and of a submission the token
        self._tokens: dict[str, str] = {}  # by handle
        self._waiting: Counter[str] = Counter()
        if self._hears_exceptions:
            self._ask(PacketType.OPTION_REQ, PacketType.OPTION_RES, b"exceptions")

    def _ask(self, number: int, answer: int, *args: bytes, token: str = "") -> None:
        self._due.append((answer, token))
        self.line.send(request(number, *args))

    # -- what it sends

    def submit(self) -> None:
        token = new_token()
        name, data = function_of(token).encode(), workload(token)
        unique = random.choice((b"", token.encode(), b"-" if len(data) < 1000 else b""))
        if function_of(token) == "shared":
            unique = token.encode()
        chance, background = random.random(), f"background {token}"
        if chance < DELAYED:
            epoch = b"%d" % (time.time() + random.randint(0, LATEST_S))
            self._ask(PacketType.SUBMIT_JOB_EPOCH, PacketType.JOB_CREATED, name, unique, epoch, data, token=background)
        elif chance < BACKGROUND:
            self._ask(random.choice(_BACKGROUND), PacketType.JOB_CREATED, name, unique, data, token=background)
        else:
            self._ask(random.choice(_FOREGROUND), PacketType.JOB_CREATED, name, unique, data, token=f"waits {token}")

    def ask(self) -> None:
        handle = next(iter(self._waiting), "H:none:1").encode()
        self._ask(PacketType.ECHO_REQ, PacketType.ECHO_RES, b"here")
        self._ask(PacketType.GET_STATUS, PacketType.STATUS_RES, handle)
        self._ask(PacketType.GET_STATUS_UNIQUE, PacketType.STATUS_RES_UNIQUE, new_token().encode())

    # -- what it gets

    def take_all(self) -> None:
        packets = self.line.receive()
        for number, args in packets:
            self._take(number, args)
        if self.line.ended:
            self._notes.fault("a raw client's connection has ended")
            raise SystemExit(1)

    def _take(self, number: int, args: list[bytes]) -> None:
        if number in _ENDS:
            self._end(number, args[0].decode(), args[1] if len(args) > 1 else b"")
        elif number in _UPDATES and not args[1].startswith(self._tokens.get(args[0].decode(), "?").encode()):
            self._notes.fault(f"a raw client got another job's data, {args}")
        elif number in _UPDATES or number == PacketType.WORK_STATUS:
            return
        elif not self._due or self._due[0][0] != number:
            self._notes.fault(f"a raw client got packet {number}, {args}, and {list(self._due)[:3]} were due")
        else:
            self._answer(self._due.popleft()[1], args)

    def _answer(self, token: str, args: list[bytes]) -> None:
        if token:
            what, token = token.split()
            handle = args[0].decode()
            self._notes.write(what, handle, token)
            if what == "waits":
                self._tokens[handle] = token
                self._waiting[handle] += 1

    def _end(self, number: int, handle: str, data: bytes) -> None:
        token = self._tokens.get(handle, "-")
        word = _ENDS[PacketType(number)]
        if word == "result" and (token == "-" or data != result(workload(token))):
            word = f"another result: {data[:80]!r}"
        if word == "fail" and function_of(token) == "raising" and not self._hears_exceptions:
            word = "exception"
        self._notes.write("ended", handle, token, word)
        self._waiting[handle] -= 1
        if not self._waiting[handle]:
            del self._waiting[handle], self._tokens[handle]

    @property
    def is_waiting(self) -> bool:
        return bool(self._due or self._waiting)

    def leave(self) -> None:
        for handle in self._waiting.elements():
            self._notes.write("ended", handle, self._tokens[handle], "left")
        self.line.socket.close()


def _turn(clients: list[_RawClient]) -> None:
    select.select([client.line.socket for client in clients], [], [], _TURN_S)
    for client in clients:
        client.take_all()


def raw_client(port: int, notes: Notes, rate: float, is_over: Callable[[], bool]) -> None:
    clients = [_RawClient(port, notes) for _ in range(_CONNECTIONS)]
    due = time.monotonic()
    while not is_over():
        _turn(clients)
        at = random.randrange(len(clients))
        while due < time.monotonic():
            due = max(due, time.monotonic() - 1) + random.expovariate(rate)
            clients[at].submit()
        if random.random() < _ASKS:
            clients[at].ask()
        if random.random() < _LEAVES:
            clients[at].leave()
            clients[at] = _RawClient(port, notes)
    until = time.monotonic() + _PATIENCE_S
    while any(client.is_waiting for client in clients) and time.monotonic() < until:
        _turn(clients)
    for client in clients:
        if time.monotonic() < until:
            client.leave()
