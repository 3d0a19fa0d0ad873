# SPDX-License-Identifier: MIT
"""One process at a time: a lock of the operating system on a file beside the store's, which goes with the process.

Not on the file itself: SQLite's own locks there would be lost as soon as this process closed it a second time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref

from fastgear.errors import StoreInUse

__all__ = ["OwnerLock"]


class OwnerLock:
    """Taken when made, or StoreInUse is raised, with the process that has it. Raises OSError when the file cannot be made.

    The file stays: whoever removed it could take away another's. A child that is forked meanwhile does not hold the lock.
    """

    def __init__(self, path: str) -> None:
        self._name = f"{path}-lock"
        self._fd = _take(path, self._name)
        _taken.add(self)

    def is_ours(self) -> bool:
        """False when somebody has removed the file, so that another process may have a lock like it. Raises OSError."""
        return _is_still(self._name, self._fd)

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        """A store that could not be closed, and that nobody has any more, must not keep the next one out."""
        if hasattr(self, "_fd"):
            self.release()


def _take(path: str, lock: str) -> int:
    while True:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(lock, fd):
                _give_to_owner(path, fd)
                with contextlib.suppress(OSError):  # the disk may be full; it is for people to read
                    os.pwrite(fd, b"%-19d\n" % os.getpid(), 0)
                return fd
        except BlockingIOError:
            pid = _owner(fd)
            os.close(fd)
            who = f"process {pid}" if pid else "another process"
            raise StoreInUse(f"{path} is in use by {who}; one server at a time can have it", pid=pid) from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # another process removed the file between our opening and locking it


def _give_to_owner(path: str, fd: int) -> None:
    """Who may do everything should not make a file that the server, who has the others, cannot open; so does SQLite."""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            owner = os.stat(path)
            os.fchown(fd, owner.st_uid, owner.st_gid)


def _is_still(lock: str, fd: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(lock), os.fstat(fd))
    return False


def _owner(fd: int) -> int:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else 0


_taken: weakref.WeakSet[OwnerLock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    """The lock belongs to the open file, which a child shares: it would outlive the server in its workers."""
    for lock in list(_taken):
        lock.release()


os.register_at_fork(after_in_child=_let_go_in_child)
