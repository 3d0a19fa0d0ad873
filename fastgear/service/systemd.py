# SPDX-License-Identifier: MIT
"""systemd's side of a service, as sd_notify(3) and sd_listen_fds(3) describe it; without systemd nothing happens.

The variables are taken out of the environment, so that no child takes itself for the service.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

__all__ = ["Systemd"]

_FIRST = 3


class Systemd:
    """What the manager gave: `sockets` that listen already, where to `notify` it, and `watchdog_s`, 0 without a watchdog.

    Make it before any fork: the manager names the process that it means.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog(environment)
        self.sockets = _sockets(environment)

    def ready(self, status: str) -> None:
        self._notify("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def status(self, status: str) -> None:
        self._notify(f"STATUS={status}")

    def reloading(self) -> None:
        """`ready` says that it is over."""
        self._notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._notify("STOPPING=1", "STATUS=stopping")

    def alive(self) -> None:
        """Within each `watchdog_s`, or the manager ends the service."""
        self._notify("WATCHDOG=1")

    def close(self) -> None:
        """Close the sockets: after they have been duplicated, or not used at all."""
        for one in self.sockets:
            one.close()
        self.sockets = ()

    def _notify(self, *lines: str) -> None:
        """Never waits and never fails: a service goes on without its manager."""
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), address)


def _watchdog(environment: MutableMapping[str, str]) -> float:
    microseconds, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
    if not microseconds.isdigit() or pid not in ("", str(os.getpid())):
        return 0.0
    return int(microseconds) / 1e6


def _sockets(environment: MutableMapping[str, str]) -> tuple[socket.socket, ...]:
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", "")
    if pid != str(os.getpid()) or not count.isdigit():
        return ()
    return tuple(_adopt(fd) for fd in range(_FIRST, _FIRST + int(count)))


def _adopt(fd: int) -> socket.socket:
    try:
        adopted = socket.socket(fileno=fd)
    except OSError as error:
        raise OSError(
            error.errno, f"descriptor {fd}, which LISTEN_FDS counts, is no socket: {error.strerror}"
        ) from error
    adopted.set_inheritable(False)
    return adopted
