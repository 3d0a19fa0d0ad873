# SPDX-License-Identifier: MIT
"""One end of a pair of sockets that carries tuples of plain values between processes, and never blocks.

A packet is a list of them in marshal's format, since both ends run the same Python: it executes nothing, and touches
little memory, of which a process that was just forked has to copy each page that it touches.
"""

from __future__ import annotations

import marshal
import socket
from collections import deque
from typing import Any

__all__ = ["MAX_TEXT", "Channel"]

MAX_TEXT = 32_768  # characters of a traceback, so that a packet always fits
_PACKET = 1 << 18
_TOGETHER = 64  # tuples in a packet; long texts are rare and leave alone


class Channel:
    """Tuples in, tuples out: `post` keeps them, and `flush` sends what goes at once."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._posted: list[tuple[Any, ...]] = []
        self._packets: deque[bytes] = deque()
        self.closed = False  # whether the other side is gone

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def waiting(self) -> bool:
        """Whether something is kept."""
        return bool(self._posted or self._packets)

    def post(self, message: tuple[Any, ...]) -> None:
        self._posted.append(message)

    def send(self, message: tuple[Any, ...]) -> None:
        self.post(message)
        self.flush()

    def flush(self) -> None:
        if self._posted:
            self._pack()
        while self._packets and not self.closed:
            try:
                self._socket.send(self._packets[0], socket.MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._packets.clear()  # the reader learns of the end from `receive`
                return
            self._packets.popleft()

    def _pack(self) -> None:
        posted, self._posted = self._posted, []
        for start in range(0, len(posted), _TOGETHER):
            packet = marshal.dumps(posted[start : start + _TOGETHER])
            if len(packet) <= _PACKET // 2:
                self._packets.append(packet)
            else:
                self._packets += [marshal.dumps([message]) for message in posted[start : start + _TOGETHER]]

    def receive(self) -> list[tuple[Any, ...]]:
        """All that is there. Sets `closed` at the end."""
        messages: list[tuple[Any, ...]] = []
        while not self.closed:
            try:
                packet = self._socket.recv(_PACKET)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                packet = b""
            if packet:
                messages += marshal.loads(packet)
            else:
                self.closed = True
        return messages

    def finish(self) -> None:
        """Send what is kept, however long the other side takes, unless it goes; then close."""
        self._socket.setblocking(True)
        self.flush()
        self.close()

    def close(self) -> None:
        self.closed = True
        self._posted.clear()
        self._packets.clear()
        self._socket.close()
