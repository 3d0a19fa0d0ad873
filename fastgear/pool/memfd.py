# SPDX-License-Identifier: MIT
"""Memory behind a descriptor."""

from __future__ import annotations

import fcntl
import os

__all__ = ["memory_descriptor"]


def memory_descriptor(name: str) -> int:
    """A memfd, above the standard streams' numbers, which may be free here and are not in a worker."""
    fd = os.memfd_create(name)
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)
