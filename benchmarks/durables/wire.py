# SPDX-License-Identifier: MIT
"""Packets, and connections that speak them: one that waits, and one that never does."""

from __future__ import annotations

import socket
import struct

__all__ = [
    "CAN_DO", "ERROR", "GET_STATUS", "GRAB_JOB", "HERE", "JOB_ASSIGN", "JOB_CREATED", "NOOP", "NO_JOB", "PRE_SLEEP", "STATUS_RES",
    "SUBMIT_JOB", "SUBMIT_JOB_BG", "SUBMIT_JOB_EPOCH", "SUBMIT_JOB_HIGH_BG", "SUBMIT_JOB_LOW_BG", "WORK_COMPLETE",
    "Line", "Peer", "connect", "request",
]  # fmt: skip

CAN_DO, PRE_SLEEP, NOOP, SUBMIT_JOB, JOB_CREATED, GRAB_JOB, NO_JOB, JOB_ASSIGN = 1, 4, 6, 7, 8, 9, 10, 11
WORK_COMPLETE, GET_STATUS, SUBMIT_JOB_BG, ERROR, STATUS_RES = 13, 15, 18, 19, 20
SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_LOW_BG, SUBMIT_JOB_EPOCH = 32, 34, 36

HERE = "127.0.0.1"
_HEADER = struct.Struct(">4sII")
_PARTS = {JOB_ASSIGN: 3, WORK_COMPLETE: 2}  # those that end with data, in which zero bytes mean nothing
_CHUNK = 1 << 18

Packet = tuple[int, list[bytes]]


def request(number: int, *args: bytes) -> bytes:
    body = b"\0".join(args)
    return _HEADER.pack(b"\0REQ", number, len(body)) + body


def connect(port: int, timeout_s: float = 60) -> socket.socket:
    made = socket.create_connection((HERE, port), timeout_s)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _cut(data: bytes) -> tuple[list[Packet], bytes]:
    """The whole packets at the front, and what is left."""
    found, at = [], 0
    while len(data) - at >= _HEADER.size:
        magic, number, length = _HEADER.unpack_from(data, at)
        if magic != b"\0RES":
            raise ValueError(f"no packet of a server: {data[at : at + 40]!r}")
        end = at + _HEADER.size + length
        if end > len(data):
            break
        found.append((number, data[at + _HEADER.size : end].split(b"\0", _PARTS.get(number, 0) - 1)))
        at = end
    return found, data[at:]


class Peer:
    """Waits for each answer."""

    def __init__(self, port: int, timeout_s: float = 60) -> None:
        self.socket = connect(port, timeout_s)
        self._found: list[Packet] = []
        self._rest = b""

    def send(self, *requests: bytes) -> None:
        self.socket.sendall(b"".join(requests))

    def receive(self) -> Packet:
        while not self._found:
            data = self.socket.recv(_CHUNK)
            if not data:
                raise ConnectionError("the server hung up")
            self._found, self._rest = _cut(self._rest + data)
            self._found.reverse()
        return self._found.pop()

    def expect(self, number: int) -> list[bytes]:
        found, args = self.receive()
        if found != number:
            raise ValueError(f"expected packet {number}, got {found}: {args}")
        return args

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


class Line:
    """Never waits. What the server sent before it died is still read; then the line has ended."""

    def __init__(self, port: int) -> None:
        self.socket = connect(port)
        self.socket.setblocking(False)
        self.ended = False
        self._out = b""
        self._rest = b""

    def send(self, *requests: bytes) -> None:
        self._out += b"".join(requests)
        try:
            self._out = self._out[self.socket.send(self._out) :]
        except BlockingIOError:
            pass
        except OSError:  # the server died, which reading will find out
            self._out = b""

    def receive(self) -> list[Packet]:
        """All that is there now."""
        try:
            data = self.socket.recv(_CHUNK)
            self.ended = not data
        except BlockingIOError:
            data = b""
        except OSError:
            data, self.ended = b"", True
        if self._out:
            self.send()
        found, self._rest = _cut(self._rest + data)
        return found
