# SPDX-License-Identifier: MIT
"""Where a pool's workers reach its server: a listening Unix socket whose file is gone before anybody connects.

A descriptor keeps the place. `/proc/self/fd` leads there in each process that has inherited it, and nowhere for others, so
that nothing is left on disk however a program ends, and nobody can take it away.
"""

from __future__ import annotations

import os
import socket

__all__ = ["Doorway"]


class Doorway:
    """`socket` listens; workers connect to `path`, for which they have to have inherited `fd`."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        folder = _make_folder()
        try:
            within = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self.socket.bind(f"/proc/self/fd/{within}/server")  # any folder's path is short enough so
                self.fd = os.open("server", os.O_PATH | os.O_CLOEXEC, dir_fd=within)
                os.unlink("server", dir_fd=within)
            finally:
                os.close(within)
        except BaseException:
            self.socket.close()
            raise
        finally:
            os.rmdir(folder)
        self.path = f"/proc/self/fd/{self.fd}"
        self.socket.listen(1024)

    def close(self) -> None:
        """In this process; workers that are there already have their own."""
        self.socket.close()
        os.close(self.fd)


def _make_folder() -> str:
    """As tempfile.mkdtemp does, which imports so much that every fork of this process would take half as long again."""
    named = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    error = OSError("there is no folder for temporary files")
    for place in (*filter(None, named), "/tmp", "/var/tmp", "/usr/tmp", os.curdir):
        folder = os.path.join(place, f"fastgear-{os.urandom(8).hex()}")
        try:
            os.mkdir(folder, 0o700)
        except OSError as refused:
            error = refused
        else:
            return folder
    raise error
