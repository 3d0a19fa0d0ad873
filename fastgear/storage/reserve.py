# SPDX-License-Identifier: MIT
"""Room on the disk that is kept for a full one: to note that jobs have ended takes some, before any is free again."""

from __future__ import annotations

import contextlib
import errno
import os

__all__ = ["Reserve"]

_STEP = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Reserve:
    """A file of zeros beside the store's, no larger than it has to be; it goes with `release`, and may be left by a crash."""

    def __init__(self, path: str) -> None:
        self._path = f"{path}-reserve"
        self._held = 0

    def hold(self, size: int) -> bool:
        """Hold at least so many bytes. False: the disk has no room for them.

        Where a file system cannot reserve room, none is held, and nothing can be said.
        """
        if size <= self._held <= 4 * size + _STEP:
            return True
        wanted = (size // _STEP + 1) * _STEP
        try:
            self._make(wanted)
        except OSError as error:
            return error.errno not in _FULL
        self._held = wanted
        return True

    def _make(self, size: int) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
            os.ftruncate(fd, size)
        except OSError:
            os.ftruncate(fd, self._held)  # there may be a part of it
            raise
        finally:
            os.close(fd)

    def release(self) -> None:
        """Let others have the room, the store itself above all."""
        self._held = 0
        with contextlib.suppress(OSError):  # there is none, or not for us to remove
            os.unlink(self._path)
