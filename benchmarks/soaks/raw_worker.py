# SPDX-License-Identifier: MIT
"""A worker on a bare socket: several grabs at once, of each kind; abilities that come and go; hang-ups with jobs in hand."""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable

from durables.wire import Line, request

from fastgear.protocol.wire import PacketType
from soaks.jobs import function_of, result, token_of
from soaks.notes import Notes

__all__ = ["raw_worker"]

_GRABS = (PacketType.GRAB_JOB, PacketType.GRAB_JOB_UNIQ, PacketType.GRAB_JOB_ALL)
_ASSIGNED = (PacketType.JOB_ASSIGN, PacketType.JOB_ASSIGN_UNIQ, PacketType.JOB_ASSIGN_ALL)
_ABILITIES = (b"quick", b"failing", b"raising")
_FICKLE = b"fickle"
_AT_ONCE = 3
_TURN_MS = 200
_TOGGLE, _HANG_UP, _RESET = 0.1, 0.01, 0.02  # the chances of each turn


class _RawWorker:
    def __init__(self, port: int, notes: Notes) -> None:
        self._port, self._notes = port, notes
        self._line = Line(port)
        self._grabs = 0
        self._sleeps = self._is_able = False
        self._begin()

    @property
    def fd(self) -> int:
        return self._line.socket.fileno()

    def _begin(self) -> None:
        self._line.send(request(PacketType.SET_CLIENT_ID, b"soak raw"))
        self._grabs, self._sleeps = 0, False
        self._learn()

    def _learn(self) -> None:
        self._line.send(*(request(PacketType.CAN_DO, name) for name in (*_ABILITIES, _FICKLE)))
        self._is_able = True

    def turn(self) -> None:
        packets = self._line.receive()
        if self._line.ended:
            self._notes.fault("the raw worker's connection has ended")
            raise SystemExit(1)
        self._take_all(packets)
        self._be_odd()
        if not self._grabs and not self._sleeps:
            self._grabs = random.randint(1, _AT_ONCE)
            self._line.send(*(request(random.choice(_GRABS)) for _ in range(self._grabs)))

    def _take_all(self, packets: list[tuple[int, list[bytes]]]) -> None:
        """Until it hangs up."""
        line = self._line
        for number, args in packets:
            if self._line is line:
                self._take(number, args)

    def _take(self, number: int, args: list[bytes]) -> None:
        if number in _ASSIGNED:
            self._grabs -= 1
            self._do(args[0], args[-1])
        elif number == PacketType.NO_JOB:
            self._grabs -= 1
            if not self._grabs:
                self._line.send(request(PacketType.PRE_SLEEP))
                self._sleeps = True
        elif number == PacketType.NOOP:
            self._sleeps = False
        elif number != PacketType.ERROR:  # which says that the job was cancelled
            self._notes.fault(f"the raw worker got packet {number}: {args}")

    def _do(self, handle: bytes, workload: bytes) -> None:
        token, name = token_of(workload), handle.decode()
        self._notes.write("begins", name, token)
        if random.random() < _HANG_UP:
            self._hang_up()
            self._line = Line(self._port)
            self._begin()
            return
        self._notes.write("done", name, token)
        kind = function_of(token)
        if kind == "failing":
            self._line.send(request(PacketType.WORK_FAIL, handle))
        elif kind == "raising":
            self._line.send(request(PacketType.WORK_EXCEPTION, handle, b"ValueError: " + token.encode()))
        else:
            self._line.send(request(PacketType.WORK_COMPLETE, handle, result(workload)))

    def _hang_up(self) -> None:
        self._notes.write("hangs-up")
        self._line.socket.close()

    def _be_odd(self) -> None:
        chance = random.random()
        if chance < _TOGGLE:
            self._is_able = not self._is_able
            self._line.send(request(PacketType.CAN_DO if self._is_able else PacketType.CANT_DO, _FICKLE))
        elif chance < _TOGGLE + _RESET:
            self._line.send(request(PacketType.RESET_ABILITIES))
            self._learn()

    def finish(self) -> None:
        """What has been asked for is done still."""
        until = time.monotonic() + 2
        while self._grabs and time.monotonic() < until:
            select.select([self.fd], [], [], 0.1)
            self._take_all(self._line.receive())
        self._hang_up()


def raw_worker(port: int, notes: Notes, is_over: Callable[[], bool]) -> None:
    worker = _RawWorker(port, notes)
    while not is_over():
        select.select([worker.fd], [], [], _TURN_MS / 1000)
        worker.turn()
    worker.finish()
