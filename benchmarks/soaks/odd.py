# SPDX-License-Identifier: MIT
"""Connections that do what they should not, or do it slowly: each costs the server a while, and nobody else anything."""

from __future__ import annotations

import os
import random
import socket
import struct
import time
from collections.abc import Callable

from durables.wire import ERROR, Peer, connect, request

from fastgear.protocol.wire import PacketType
from soaks.clients import new_token
from soaks.jobs import function_of, workload
from soaks.notes import Notes

__all__ = ["odd"]

_PATIENCE_S = 20.0
_LINGERS_S = 5.0
_PAUSE_S = 0.25
_ECHO = 1 << 20
_SLICE = 1 << 16

Lingering = list[tuple[float, socket.socket]]


def _submission() -> bytes:
    token = new_token()
    return request(PacketType.SUBMIT_JOB, function_of(token).encode(), b"", workload(token))


def _linger(lingering: Lingering, sock: socket.socket) -> None:
    lingering.append((time.monotonic() + random.uniform(0, _LINGERS_S), sock))


def in_mid_packet(port: int, lingering: Lingering) -> None:
    """Some stay for a while, some reset the connection at once."""
    data, sock = _submission(), connect(port)
    sock.sendall(data[: random.randrange(min(len(data), 100_000))])
    if random.random() < 0.5:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    else:
        _linger(lingering, sock)


def half_open(port: int, lingering: Lingering) -> None:
    sock = connect(port)
    sock.sendall(_submission()[:7])
    sock.shutdown(socket.SHUT_WR)
    _linger(lingering, sock)


def garbage(port: int, lingering: Lingering) -> None:
    sock = connect(port)
    sock.sendall(b"\0" + os.urandom(random.randrange(1, 500)))
    _linger(lingering, sock)


def refused(port: int, lingering: Lingering) -> None:
    """What is not for a server, not there, or too short; the connection can be used on."""
    with Peer(port, _PATIENCE_S) as peer:
        for wrong in (request(PacketType.JOB_CREATED, b"H:here:1"), request(77, b"x"), request(PacketType.SUBMIT_JOB)):
            peer.send(wrong)
            peer.expect(ERROR)
        peer.send(request(PacketType.OPTION_REQ, b"no such option"))
        peer.expect(ERROR)
        peer.send(request(PacketType.OPTION_REQ, b"exceptions"))
        peer.expect(PacketType.OPTION_RES)


def idle(port: int, lingering: Lingering) -> None:
    _linger(lingering, connect(port))


def drops_its_jobs(port: int, lingering: Lingering) -> None:
    """And does not even read their handles, so that nobody can say what became of them."""
    sock = connect(port)
    sock.sendall(b"".join(_submission() for _ in range(3)))
    if random.random() < 0.5:
        _linger(lingering, sock)
    else:
        sock.close()


def reads_slowly(port: int, lingering: Lingering) -> None:
    with connect(port, _PATIENCE_S) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLICE)
        sock.sendall(request(PacketType.ECHO_REQ, b"x" * _ECHO) * 2)
        left = 2 * (12 + _ECHO)
        while left:
            found = len(sock.recv(_SLICE))
            if not found:
                raise ConnectionError("who reads slowly was cut off")
            left -= found
            time.sleep(0.01)


def text_and_packets(port: int, lingering: Lingering) -> None:
    with connect(port, _PATIENCE_S) as sock:
        sock.sendall(b"version\n" + request(PacketType.ECHO_REQ, b"here") + b"no-such-command\n")
        found = b""
        while not found.endswith(b"\n") or b"ERR" not in found:
            data = sock.recv(_SLICE)
            if not data:
                raise ConnectionError("text and packets were not answered")
            found += data
        if not found.startswith(b"OK ") or b"\n\0RES" not in found or b"here" not in found:
            raise ValueError(f"text and packets were answered by {found!r}")


_WAYS = (
    in_mid_packet, half_open, garbage, refused, idle, drops_its_jobs, reads_slowly, text_and_packets,
)  # fmt: skip


def odd(port: int, notes: Notes, is_over: Callable[[], bool]) -> None:
    lingering: Lingering = []
    while not is_over():
        way = random.choice(_WAYS)
        try:
            way(port, lingering)
        except (OSError, ValueError) as error:
            notes.fault(f"{way.__name__}: {type(error).__name__}: {error}")
        for one in [one for one in lingering if one[0] < time.monotonic()]:
            one[1].close()
            lingering.remove(one)
        time.sleep(random.expovariate(1 / _PAUSE_S))
    for _, sock in lingering:
        sock.close()
