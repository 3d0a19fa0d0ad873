# SPDX-License-Identifier: MIT
"""Hostile requests over sockets: sent to a server that serves others meanwhile, and what becomes of each."""

from __future__ import annotations

import itertools
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

from hostile.judge import FOLLOWING, is_followed, verdict
from hostile.table import Handles, Hostile
from speak import cut, request, response


class Bystanders:
    """A client and a worker with a job of its, whom nothing may trouble."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.client, self.worker = (socket.create_connection(address, 5) for _ in range(2))
        self.words = itertools.count()
        self.client.sendall(request("SUBMIT_JOB", b"good", b"", b"x"))
        ((_, (self.handle,)),) = cut(self.client.recv(1 << 16))[0]
        self.worker.sendall(request("CAN_DO", b"good") + request("GRAB_JOB"))
        ((name, _),) = cut(self.worker.recv(1 << 16))[0]
        assert name == "JOB_ASSIGN"

    def are_served(self, within_s: float = 2.0) -> bool:
        word = b"word %d" % next(self.words)
        return all(self._is_echoed(sock, word, within_s) for sock in (self.client, self.worker))

    @staticmethod
    def _is_echoed(sock: socket.socket, word: bytes, within_s: float) -> bool:
        sock.settimeout(within_s)
        try:
            sock.sendall(request("ECHO_REQ", word))
            return sock.recv(1 << 16) == response("ECHO_RES", word)
        except OSError:
            return False

    def finish(self) -> bool:
        """Whether the job of before can still be done."""
        self.client.settimeout(2)
        self.worker.sendall(request("WORK_COMPLETE", self.handle, b"done"))
        return self.client.recv(1 << 16) == response("WORK_COMPLETE", self.handle, b"done")

    def close(self) -> None:
        self.client.close()
        self.worker.close()


@dataclass
class Attack:
    """One request under way."""

    one: Hostile
    sock: socket.socket
    came: bytes = b""
    closed: bool = False
    started: float = field(default_factory=time.monotonic)

    def wait(self, patience_s: float) -> str:
        """Until an end, or the answer to what follows, or no more patience; and what it was."""
        deadline = self.started + patience_s
        while not self.closed and not is_followed(self.came) and time.monotonic() < deadline:
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.sock.recv(1 << 16)
            except TimeoutError:
                break
            except OSError:
                data = b""
            self.came += data
            self.closed = not data
        self.sock.close()
        return verdict(self.came, closed=self.closed)


_numbers = itertools.count()


def begin(address: tuple[str, int], one: Hostile, foreign: bytes) -> Attack:
    sock = socket.create_connection(address, 5)
    own = _grab(sock) if one.grabs else b""
    attack = Attack(one, sock)
    with suppress(OSError):  # closed already: what it said before may still be read
        sock.sendall(one.data(Handles(own=own, foreign=foreign)) + (b"" if one.half else FOLLOWING))
    return attack


def _grab(sock: socket.socket) -> bytes:
    """A background job under a name of its own, in this connection's hands."""
    name = b"own %d" % next(_numbers)
    sock.sendall(request("SUBMIT_JOB_BG", name, b"", b"x") + request("CAN_DO", name) + request("GRAB_JOB"))
    data = b""
    while len(found := cut(data)[0]) < 2:
        data += sock.recv(1 << 16)
    (_, (handle,)), (assigned, _) = found
    assert assigned == "JOB_ASSIGN"
    return handle
