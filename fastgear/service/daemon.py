# SPDX-License-Identifier: MIT
"""Detaching from whoever started the process, who waits until the daemon is ready, and learns when it cannot be."""

from __future__ import annotations

import contextlib
import os

__all__ = ["Daemon"]

_READY = b"r"


class Daemon:
    """The detached process's side: until `ready`, its complaints go to its starter's standard error.

    The starter ends with exit code 0 at `ready`, and with 1 when the daemon ends before.
    """

    def __init__(self, starter: int) -> None:
        self._starter = starter

    @classmethod
    def detach(cls) -> Daemon:
        """Go on in a process that has no terminal and another parent. The caller must have one thread."""
        reader, writer = os.pipe()
        child = os.fork()
        if child:
            os.close(writer)
            os._exit(_await_daemon(child, reader))
        os.close(reader)
        os.setsid()
        if os.fork():
            os._exit(0)  # the session has no leader any more, and so can never get a terminal
        return cls(writer)

    def ready(self) -> None:
        """Let the starter go, and the standard streams with it."""
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        os.close(null)
        with contextlib.suppress(BrokenPipeError):  # a starter that is gone
            os.write(self._starter, _READY)
        os.close(self._starter)


def _await_daemon(child: int, reader: int) -> int:
    """The exit code for the starter."""
    os.waitpid(child, 0)
    return 0 if os.read(reader, 1) == _READY else 1
