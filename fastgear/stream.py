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

__all__ = ["Stream", "connect", "wait_ready"]

_RECEIVE = 1 << 17
_FULL_S = 0.01  # between attempts at a Unix socket whose queue is full
# Probes notice a server that is gone while nothing is under way. Unacknowledged bytes stop them, and would be sent again for
# a quarter of an hour: that is what TCP_USER_TIMEOUT bounds. But Linux counts with it also how long a server that is well
# does not read (its window is zero), and a server may rightly stop reading from a worker whose client is slow. Hence so long.
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 120_000))


def connect(address: Address, timeout: float | None) -> Stream:
    """Connect, within `timeout` seconds. Raises ConnectionLost, naming the address."""
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        sock = _connect_unix(address, deadline) if address.path is not None else _connect_tcp(address, deadline)
    except (OSError, UnicodeError) as error:  # the latter for a host's name that cannot be one
        reason = "it did not answer in time" if isinstance(error, TimeoutError) else _reason(error)
        raise ConnectionLost(f"cannot connect to {address}: {reason}") from error
    return Stream(address, sock)


def _connect_unix(address: Address, deadline: float | None) -> socket.socket:
    """Where the listener's queue is full Linux does not wait, so wait here."""
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.connect(address.socket_path)
            return sock
        except BlockingIOError:
            sock.close()
        except BaseException:
            sock.close()
            raise
        if _left(deadline) == 0:
            raise TimeoutError
        time.sleep(_FULL_S)


def _connect_tcp(address: Address, deadline: float | None) -> socket.socket:
    """Try each of the host's addresses, none of them for more than its share of the time that is left."""
    found = socket.getaddrinfo(address.host or "127.0.0.1", address.port, type=socket.SOCK_STREAM)
    failure: OSError | None = None
    for number, (family, kind, protocol, _, to) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            left = _left(deadline)
            sock.settimeout(left if left is None else max(0.001, left / (len(found) - number)))
            sock.connect(to)
            _tune(sock)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure or OSError("the name has no address")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Stream:
    """One connection. For one thread at a time; a forked child must leave it alone and is told so."""

    def __init__(self, address: Address, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.address = address
        self.waiting = 0
        self._socket = sock
        self._outgoing: deque[memoryview] = deque()
        self._incoming = memoryview(bytearray(_RECEIVE))  # `recv` would take fresh pages for all that may come
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
            raise self._lost(self._send_failure or error) from error
        if not size:
            raise self._lost(self._send_failure)
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

    def _lost(self, error: OSError | None) -> ConnectionLost:
        reason = "the server closed the connection" if error is None else _reason(error)
        return ConnectionLost(f"the connection to {self.address} broke: {reason}")


def wait_ready(streams: Iterable[Stream], wake_fd: int | None, timeout: float | None) -> set[int]:
    """Wait up to `timeout` seconds for any of the streams, or for `wake_fd`; return the descriptors that are ready."""
    poll = select.poll()
    if wake_fd is not None:
        poll.register(wake_fd, select.POLLIN)
    for stream in streams:
        stream.check_process()
        poll.register(stream, stream.events)
    return {fd for fd, _ in poll.poll(None if timeout is None else max(0.0, timeout) * 1000)}
