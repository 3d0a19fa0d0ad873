# SPDX-License-Identifier: MIT
"""Background jobs as fast as a server takes them.

One send and one recv go for many packets, so that the server is what is measured.
"""

from __future__ import annotations

import select
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from durables.wire import ERROR, JOB_CREATED, SUBMIT_JOB_BG, Peer, connect, request

__all__ = ["FUNCTION", "Flooded", "flood", "one_at_a_time", "requests"]

FUNCTION = b"durable"
_CREATED, _ERROR = (b"\0RES" + struct.pack(">I", number) for number in (JOB_CREATED, ERROR))
_DIGITS = 16


@dataclass(frozen=True)
class Flooded:
    jobs: int
    seconds: float
    client_cpu_s: float


def requests(count: int, first: int = 0, with_unique: bool = True) -> tuple[bytes, int]:
    """So many submissions of 16 bytes, each with a unique of its own, as client libraries send them; and the length of each."""
    one = len(request(SUBMIT_JOB_BG, FUNCTION, b"0" * _DIGITS if with_unique else b"", b"0" * _DIGITS))
    names = (b"%016d" % number for number in range(first, first + count))
    return b"".join(request(SUBMIT_JOB_BG, FUNCTION, name if with_unique else b"", name) for name in names), one


class _Line:
    """A connection whose answers are counted by their beginnings."""

    def __init__(self, port: int) -> None:
        self.socket = connect(port)
        self._tail = b""

    def answers(self) -> int:
        data = self._tail + self.socket.recv(1 << 18)
        if len(data) == len(self._tail):
            raise ConnectionError("the server hung up")
        if _ERROR in data:
            raise ValueError(f"a submission was refused: {data[data.index(_ERROR) :][:200]!r}")
        self._tail = data[-(len(_CREATED) - 1) :]
        return data.count(_CREATED)


def flood(
    port: int, prepared: tuple[bytes, int], is_over: Callable[[float], bool], *, connections: int = 4, window: int = 100
) -> Flooded:
    """Until that is true of the seconds so far, or what is prepared has been used up; all answers are waited for."""
    view, length = memoryview(prepared[0]), prepared[1]
    sent, limit = 0, len(view) // length
    lines = [_Line(port) for _ in range(connections)]
    by_fd = {line.socket.fileno(): line for line in lines}
    poll = select.epoll()
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)

    def send(line: _Line, count: int) -> int:
        line.socket.sendall(view[sent * length : (sent + count) * length])
        return sent + count

    cpu, begun = time.thread_time(), time.perf_counter()
    for line in lines:
        sent = send(line, min(window, limit - sent))
    answered, over = 0, False
    while answered < sent:
        for fd, _ in poll.poll():
            count = by_fd[fd].answers()
            answered += count
            over = over or is_over(time.perf_counter() - begun)
            if not over:
                sent = send(by_fd[fd], min(count, limit - sent))
    took = Flooded(answered, time.perf_counter() - begun, time.thread_time() - cpu)
    poll.close()
    for line in lines:
        line.socket.close()
    return took


def one_at_a_time(port: int, prepared: tuple[bytes, int], seconds: float) -> list[float]:
    """How long each took, in seconds."""
    data, length = prepared
    times = []
    with Peer(port) as peer:
        begun = time.perf_counter()
        for at in range(0, len(data), length):
            start = time.perf_counter()
            peer.send(data[at : at + length])
            peer.expect(JOB_CREATED)
            end = time.perf_counter()
            times.append(end - start)
            if end - begun > seconds:
                break
    return times
