# SPDX-License-Identifier: MIT
"""Thousands of connected sockets, without a buffer each."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack

from fastgear.addresses import Address
from fastgear.errors import ConfigError
from fastgear.sockets import FULL_S, cannot_connect, connect_unix, kept

__all__ = ["connect_many"]

_SPARE = 64  # descriptors for everything else


def connect_many(address: Address, count: int, timeout: float, stack: ExitStack) -> list[socket.socket]:
    """So many of them, which the stack closes. Raises ConnectionLost, or ConfigError where descriptors do not suffice."""
    _allow(count)
    return [stack.enter_context(_connect(address, timeout)) for _ in range(count)]


def _allow(count: int) -> None:
    """Raise this process's limit of open files, where it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _SPARE
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise ConfigError(f"{count:,} connections need more open files than the limit of {hard:,} (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _connect(address: Address, timeout: float) -> socket.socket:
    deadline = time.monotonic() + timeout
    try:
        if address.path is None:
            with kept(socket.create_connection((address.host or "127.0.0.1", address.port), timeout)) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setblocking(False)
                return sock
        while True:
            try:
                return connect_unix(address)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(FULL_S)
    except (OSError, UnicodeError) as error:
        raise cannot_connect(address, error) from error
