# SPDX-License-Identifier: MIT
"""A connected socket as client, worker and admin use it: never blocks on its own, waits where it is told to.

Knows bytes and time-outs; what the bytes mean is the sessions' business.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterable

from fastgear.addresses import Address
from fastgear.errors import ConnectionLost
from fastgear.sockets import FULL_S, RECEIVE, broken, cannot_connect, connect_unix, kept, share, tune

__all__ = ["Stream", "connect", "wait_ready"]


def connect(address: Address, timeout: float | None) -> Stream:
    """Connect, within `timeout` seconds. Raises ConnectionLost, naming the address."""
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        sock = _connect_unix(address, deadline) if address.path is not None else _connect_tcp(address, deadline)
    except (OSError, UnicodeError) as error:  # the latter for a host's name that cannot be one
        raise cannot_connect(address, error) from error
    return Stream(address, sock)


def _connect_unix(address: Address, deadline: float | None) -> socket.socket:
    """Where the listener's queue is full Linux does not wait, so wait here."""
    while True:
        with contextlib.suppress(BlockingIOError):
            return connect_unix(address)
        if _left(deadline) == 0:
            raise TimeoutError
        time.sleep(FULL_S)


def _connect_tcp(address: Address, deadline: float | None) -> socket.socket:
    """Try each of the host's addresses, none of them for more than its share of the time that is left."""
    found = socket.getaddrinfo(address.host or "127.0.0.1", address.port, type=socket.SOCK_STREAM)
    failure: OSError | None = None
    for number, (family, kind, protocol, _, to) in enumerate(found):
        try:
            with kept(socket.socket(family, kind, protocol)) as sock:
                sock.settimeout(share(_left(deadline), len(found) - number))
                sock.connect(to)
                tune(sock)
                return sock
        except OSError as error:
            failure = error
    raise failure or OSError("the name has no address")


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


class Stream:
    """One connection. For one thread at a time; a forked child must leave it alone and is told so."""

    def __init__(self, address: Address, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.address = address
        self.waiting = 0
        self._socket = sock
        self._outgoing: deque[memoryview] = deque()
        self._incoming = memoryview(bytearray(RECEIVE))  # `recv` would take fresh pages for all that may come
        self._pid = os.getpid()
        self._send_failure: OSError | None = None
        self._poll = select.poll()
        self._interest = select.POLLIN
        self._poll.register(sock, self._interest)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def events(self) -> int:
        """What to wait for: input always, and room for output while some waits."""
        return select.POLLIN | select.POLLOUT if self._outgoing else select.POLLIN

    def send(self, data: bytes | bytearray) -> None:
        """Send what goes at once, and keep the rest for `flush`.

        A connection that is found broken says so by `receive`, after what came before: a server that turns a client away
        says why and closes, and that may be known only by a send that fails.
        """
        self.check_process()
        if data and self._send_failure is None:
            self._outgoing.append(memoryview(data))
            self.waiting += len(data)
        self.flush()

    def flush(self) -> None:
        """Send more of what waits."""
        while self._outgoing:
            piece = self._outgoing[0]
            try:
                sent = self._socket.send(piece)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._fail(error)
                return
            self.waiting -= sent
            if sent == len(piece):
                self._outgoing.popleft()
            else:
                self._outgoing[0] = piece[sent:]

    def receive(self) -> bytes:
        """What is there, which may be nothing. Raises ConnectionLost at the end of the stream."""
        self.check_process()
        try:
            size = self._socket.recv_into(self._incoming)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise broken(self.address, self._send_failure or error) from error
        if not size:
            raise broken(self.address, self._send_failure)
        return bytes(self._incoming[:size])

    def poll(self, deadline: float | None) -> bool:
        """Wait until there is something to `receive` or to `flush`; False when `deadline` (of time.monotonic) passes."""
        self.check_process()
        if self.events != self._interest:
            self._interest = self.events
            self._poll.modify(self._socket, self._interest)
        left = _left(deadline)
        return bool(self._poll.poll(left if left is None else left * 1000))

    def wait(self, deadline: float | None) -> bytes:
        """Wait until input comes or `deadline` (of time.monotonic) passes, sending meanwhile; b"" when it passed."""
        while self.poll(deadline):
            self.flush()
            if data := self.receive():
                return data
        return b""

    def close(self) -> None:
        """Close this process's side. What waits is lost; `finish` first where it matters."""
        self._outgoing.clear()
        self._socket.close()

    def finish(self, timeout: float) -> None:
        """Send what waits, say that nothing more comes, and wait for the server's close, so that nothing sent is lost.

        Each of the two has `timeout` seconds, and the first, while it gets on, up to ten times as many.
        """
        if os.getpid() != self._pid:  # a shutdown would reach the parent's side of the connection too
            self.close()
            return
        last = time.monotonic() + 10 * timeout
        deadline = time.monotonic() + timeout
        with contextlib.suppress(ConnectionLost, OSError):
            while self._outgoing and time.monotonic() < min(deadline, last):
                before = self.waiting
                self.wait(min(deadline, time.monotonic() + 0.05))
                if self.waiting < before:
                    deadline = time.monotonic() + timeout
            self._socket.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + timeout
            while self.wait(deadline):
                pass
        self.close()

    def check_process(self) -> None:
        """Raises RuntimeError in a forked child."""
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"the connection to {self.address} belongs to the process that made it; make one after the fork"
            )

    def _fail(self, error: OSError) -> None:
        """Nothing can be sent any more. What has come can still be read, and the end of the stream is made to follow it."""
        self._send_failure = error
        self._outgoing.clear()
        self.waiting = 0
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def wait_ready(streams: Iterable[Stream], wake_fd: int | None, timeout: float | None) -> set[int]:
    """Wait up to `timeout` seconds for any of the streams, or for `wake_fd`; return the descriptors that are ready."""
    poll = select.poll()
    if wake_fd is not None:
        poll.register(wake_fd, select.POLLIN)
    for stream in streams:
        stream.check_process()
        poll.register(stream, stream.events)
    return {fd for fd, _ in poll.poll(None if timeout is None else max(0.0, timeout) * 1000)}
