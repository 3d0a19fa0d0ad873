# SPDX-License-Identifier: MIT
"""The inside of a pool's worker process: frames in, records out. The supervisor calls `main`."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastgear.pool.frame import CALLS, FUNCTION, PLAIN, STARMAP, Group, most_calls, unpack
from fastgear.pool.functions import Functions, at_home
from fastgear.pool.line import Line
from fastgear.pool.memory import Memory
from fastgear.pool.transfer import Sent, Transfer
from fastgear.pool.values import read_records
from fastgear.protocol.wire import Packet, PacketReader, PacketType, pack_request
from fastgear.supervisor.child import flush_streams

__all__ = ["ChildTask", "authkey", "main"]

_GRAB = pack_request(PacketType.GRAB_JOB_UNIQ)
_HELLO = pack_request(PacketType.OPTION_REQ, b"fastgear/wait") + pack_request(PacketType.CAN_DO, FUNCTION)


@dataclass(frozen=True)
class ChildTask:
    """What every worker of a pool is told."""

    path: str
    memory: Memory
    max_tasks: int = 0  # calls, and frames of maps, after which a worker leaves; 0: never
    private: bool = False  # what a call does to its arguments is not to be seen when it is tried again
    initializer: Callable[..., Any] | None = None
    initargs: tuple[Any, ...] = ()
    authkey: bytes | None = None  # multiprocessing's, so that its managers know the workers


def authkey() -> bytes | None:
    """For a task, in a program that uses multiprocessing. A copy, since the original refuses to be pickled."""
    process = sys.modules.get("multiprocessing.process")
    return bytes(process.current_process().authkey) if process is not None else None


def main(context: Any, task: ChildTask) -> None:
    """Until SIGTERM, which lets the frame in hand be finished, or the end of the server."""
    if task.authkey is not None:
        import multiprocessing

        multiprocessing.current_process().authkey = task.authkey
    if task.initializer is not None:
        at_home(task.initializer)(*task.initargs)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(task.path)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server has ended
            _Worker(context, task, sock).run()


class _Worker:
    def __init__(self, context: Any, task: ChildTask, sock: socket.socket) -> None:
        self._context = context
        self._left = task.max_tasks or -1  # calls, and frames of maps, until it leaves by itself
        self._most_calls = most_calls(task.max_tasks)
        self._leaving = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._line = Line(sock.fileno(), self._wake_read)
        self._reader = PacketReader()
        self._transfer = Transfer(task.memory.arena)
        self._functions = Functions(self._transfer)
        self._private = task.private
        self._handle = b""
        self._area = task.memory.take_area(os.getpid(), self._transfer.pack_outcome, self._send_records)
        self._is_fork = False
        os.register_at_fork(after_in_child=self._become_fork)

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._on_term)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._line.send(_HELLO + _GRAB)
        self._context.ready()
        while not self._leaving:
            data = self._line.receive()
            if data is None:
                break
            for packet in self._reader.feed(data):
                if packet.type is PacketType.JOB_ASSIGN_UNIQ:
                    self._run_frame(packet)
        if not self._transfer.arena.reading:
            self._area.leave()  # else it is the pool's to clear, once nothing here can be looked at any more

    def _become_fork(self) -> None:
        """In what a task has forked. If it comes back from the task, it ends there."""
        self._is_fork = True
        self._area.lose()

    def _on_term(self, number: int, frame: object) -> None:
        self._leaving = True

    def _send_records(self, records: bytes) -> None:
        """They have no room in the area, or leave ahead of the others."""
        self._line.send(pack_request(PacketType.WORK_DATA, self._handle, records))

    def _run_frame(self, packet: Packet) -> None:
        self._handle, _, _, workload = packet.args
        number, kind, content = unpack(workload)
        self._context.begin("frame", number)
        if self._left > 0:
            self._left = max(0, self._left - (sum(group[1] for group in content) if kind == CALLS else 1))
            self._leaving = self._leaving or self._left < (self._most_calls if kind == CALLS else 1)
        self._area.begin(number)
        if kind == CALLS:
            self._run_calls(content)
        else:
            self._run_items(kind, content)
        if self._is_fork:
            flush_streams()
            os._exit(0)
        self._context.end()
        answer = pack_request(PacketType.WORK_COMPLETE, self._handle, self._area.result())
        self._line.send(answer if self._leaving else answer + _GRAB)
        self._area.end()  # not before, or a death meanwhile would lose what is finished

    def _run_items(self, kind: int, content: tuple[Sent, Sent]) -> None:
        try:
            function = self._functions.unpack(content[0])
            items = self._unpack_items(kind, content[1])
        except BaseException as error:
            self._area.fail(error)
            return
        self._area.call_each(function, items, kind == STARMAP)

    def _unpack_items(self, kind: int, sent: Sent) -> list[Any]:
        if kind != PLAIN:
            return list(self._transfer.unpack(sent))
        items: list[Any] = []
        assert isinstance(sent, bytes)
        read_records(sent, 0, len(sent), items, self._transfer.unpack_outcome)
        return items

    def _run_calls(self, groups: list[Group]) -> None:
        for packed, count, arguments, others in groups:
            try:
                function = self._functions.unpack_for_call(packed)
            except BaseException as error:
                goes_on = all(self._area.fail(error) for _ in range(count))
            else:
                goes_on = self._area.call_all(function, count, arguments, others, self._unpack_arguments)
            if not goes_on:
                return

    def _unpack_arguments(self, sent: Sent) -> Any:
        return self._transfer.unpack(sent, self._private)
