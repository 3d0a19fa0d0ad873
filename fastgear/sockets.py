# SPDX-License-Identifier: MIT
"""What the sockets of blocking and asyncio's streams have in common: their options, and the words for what goes wrong."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from fastgear.addresses import Address
from fastgear.errors import ConnectionLost

__all__ = ["FULL_S", "RECEIVE", "broken", "cannot_connect", "connect_unix", "kept", "share", "tune"]

RECEIVE = 1 << 17
FULL_S = 0.01  # between attempts at a Unix socket whose queue is full
# Probes notice a server that is gone while nothing is under way. Unacknowledged bytes stop them, and would be sent again for
# a quarter of an hour: that is what TCP_USER_TIMEOUT bounds. But Linux counts with it also how long a server that is well
# does not read (its window is zero), and a server may rightly stop reading from a worker whose client is slow. Hence so long.
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 120_000))


@contextlib.contextmanager
def kept(sock: socket.socket) -> Iterator[socket.socket]:
    """Close it if the block raises."""
    try:
        yield sock
    except BaseException:
        sock.close()
        raise


def connect_unix(address: Address) -> socket.socket:
    """Without waiting: raises BlockingIOError where the listener's queue is full."""
    with kept(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        sock.setblocking(False)
        sock.connect(address.socket_path)
    return sock


def share(left: float | None, addresses: int) -> float | None:
    """The part of the seconds that are left which one of so many addresses may take."""
    return None if left is None else max(0.001, left / addresses)


def tune(sock: socket.socket) -> None:
    """Set the options of a TCP socket."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def cannot_connect(address: Address, error: Exception) -> ConnectionLost:
    reason = "it did not answer in time" if isinstance(error, TimeoutError) else _reason(error)
    return ConnectionLost(f"cannot connect to {address}: {reason}")


def broken(address: Address, error: Exception | None) -> ConnectionLost:
    """Without an error, the stream came to its end."""
    reason = "the server closed the connection" if error is None else _reason(error)
    return ConnectionLost(f"the connection to {address} broke: {reason}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
