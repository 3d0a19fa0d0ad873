# SPDX-License-Identifier: MIT
"""Room in the process's table of descriptors, made while that costs nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import threading

__all__ = ["make_room"]

_ROOM = 16_384  # 128 KiB of the kernel's memory


def make_room(fd: int) -> None:
    """Let Linux make its table of descriptors large now, for which any open one is needed.

    It doubles the table when a number beyond its end is used first, and in a process of several threads waits until no CPU can
    be looking at the old one (synchronize_rcu): some 15 ms in which the loop would hear nobody, at 64, 128, 256 connections and so
    on. With one thread it need not wait. So nothing is done where there are more already.
    """
    if threading.active_count() > 1:
        return
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    room = _ROOM if limit == resource.RLIM_INFINITY else min(_ROOM, limit)
    with contextlib.suppress(OSError):
        os.close(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, room - 1))
